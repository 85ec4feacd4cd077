"""Noise of tokens by words: drop, mask and replace, and local shuffle.

Shapes: R rows, T tokens.
"""

import torch
from torch import Tensor

from .keyed import RowKeys, uniform
from .replacement import draw_symbols
from .words import Words


def hiding_draws(words: Words, keys: RowKeys, offset: Tensor | None) -> Tensor:
    """Draw the number that decides what happens to each word.

    Args:
        words: the words of the rows.
        keys: the rows' keys.
        offset: (R,) float64, where a copy's interval begins, for complementary copies: all copies
            then share one draw, seen from their own offset. None for independent copies.

    Returns:
        (R, T) float64 in [0, 1), equal for the tokens of a word.
    """
    count = words.index.size(1)
    if offset is None:
        return words.spread(uniform(keys.copy, "hide", count))
    return words.spread((uniform(keys.sentence, "hide", count) - offset[:, None]) % 1.0)


def kept_after_drop(draws: Tensor, words: Words, rate: Tensor) -> Tensor:
    """Tell which tokens stay when a word is dropped where its draw lies below the rate.

    A row of which nothing would be left keeps the word with the greatest draw.

    Args:
        draws: (R, T) float64, of ``hiding_draws``.
        words: the words of the rows.
        rate: (R,) float64 in [0, 1].

    Returns:
        (R, T) bool; False for padding.
    """
    stays = words.editable & (draws >= rate[:, None])
    greatest = draws.masked_fill(~words.editable, -1.0).amax(dim=1, keepdim=True)
    rescued = words.editable & (draws == greatest) & ~stays.any(dim=1, keepdim=True)
    return stays | rescued | ~(words.editable | words.padding)


def within(draws: Tensor, start: Tensor, rate: Tensor) -> Tensor:
    """Tell where start <= draw < start + rate; ``start`` and ``rate`` are (R,)."""
    return (draws >= start[:, None]) & (draws < (start + rate)[:, None])


def replace_tokens(
    tokens: Tensor, chosen: Tensor, position: Tensor, keys: RowKeys, cumulative: Tensor
) -> Tensor:
    """Replace the chosen tokens by draws from a distribution over the vocabulary.

    Args:
        tokens: (R, T) int64.
        chosen: (R, T) bool.
        position: (R, T) int64, position of each token in its sentence.
        keys: the rows' keys.
        cumulative: (V,) float64, of ``replacement.cumulative_of``.

    Returns:
        (R, T) int64.
    """
    draws = uniform(keys.copy, "replace", tokens.size(1)).gather(1, position)
    return torch.where(chosen, draw_symbols(draws, cumulative), tokens)


def shuffled_places(words: Words, keys: RowKeys, distance: Tensor) -> Tensor:
    """Give tokens places so that no word moves by more than ``distance`` (Lample et al. 2018).

    Word i gets the place i + U(0, distance + 1), and words are to be sorted by place. Protected
    tokens stay where they are and no word passes them.

    Args:
        words: the words of the rows.
        keys: the rows' keys.
        distance: (R,) float64, k >= 0; 0 changes nothing.

    Returns:
        (R, T) float64, equal for the tokens of a word.
    """
    count = words.index.size(1)
    moves = uniform(keys.copy, "shuffle", count) * (distance.floor() + 1)[:, None]
    moves = words.spread(moves).masked_fill(~words.editable, 0.0)
    # A protected token begins a stretch that lies beyond all places of the one before it.
    protected = ~(words.editable | words.padding)
    stretch = protected.cumsum(1) * (2 * count + distance.amax() + 1)
    return moves + words.index + stretch


def rearrange(tokens: Tensor, places: Tensor, keep: Tensor, padding: int, left_pad: bool) -> Tensor:
    """Sort the tokens of each row by place, without those not kept.

    Args:
        tokens: (R, T) int64.
        places: (R, T) float64 >= 0.
        keep: (R, T) bool; at least one token in all is kept.
        padding: id of the padding symbol, which fills the places of the others.
        left_pad: True if padding goes to the left.

    Returns:
        (R, T') int64, T' the greatest number of tokens kept in a row.

    >>> tokens, keep = torch.tensor([[5, 6, 7]]), torch.tensor([[True, False, True]])
    >>> rearrange(tokens, torch.tensor([[2.0, 1.0, 0.0]]), keep, 0, left_pad=True).tolist()
    [[7, 5]]
    """
    order = places.masked_fill(~keep, -1.0 if left_pad else torch.inf).argsort(dim=1, stable=True)
    sorted_tokens = tokens.masked_fill(~keep, padding).gather(1, order)
    longest = int(keep.sum(1).max())
    first = tokens.size(1) - longest if left_pad else 0
    return sorted_tokens[:, first : first + longest]
