"""SwitchOut: replace a random number of tokens by others (Wang et al. 2018, arXiv 1808.07512).

Shapes: R rows, T tokens, V vocabulary.
"""

import torch
from torch import Tensor

from .keyed import uniform
from .vocabulary import Vocabulary
from .words import positions


def switchout(
    tokens: Tensor, editable: Tensor, keys: Tensor, temperature: Tensor, vocabulary: Vocabulary
) -> Tensor:
    """Replace n tokens of each row, with p(n) proportional to exp(-n / temperature).

    n runs from 0 to the number of editable tokens (section 3.2 of the paper); positions are drawn
    without replacement, new tokens uniformly from all unprotected ones but the one replaced.

    Args:
        tokens: (R, T) int64.
        editable: (R, T) bool.
        keys: (R,) int64.
        temperature: (R,) float64 >= 0; 0 changes nothing.
        vocabulary: on the device of ``tokens``.

    Returns:
        (R, T) int64.
    """
    count = tokens.size(1)
    position = positions(tokens.eq(vocabulary.padding))
    number = draw_number(uniform(keys, "switchout number", 1)[:, 0], editable.sum(1), temperature)
    priority = uniform(keys, "switchout position", count).gather(1, position)
    rank = priority.masked_fill(~editable, 2.0).argsort(dim=1).argsort(dim=1)
    chosen = editable & (rank < number[:, None])
    draws = uniform(keys, "switchout symbol", count).gather(1, position)
    return torch.where(chosen, _other_symbol(tokens, draws, vocabulary.protected), tokens)


def draw_number(draws: Tensor, largest: Tensor, temperature: Tensor) -> Tensor:
    """Draw n in 0 .. largest with p(n) proportional to q^n, q = exp(-1 / temperature).

    The cumulative distribution (1 - q^(n + 1)) / (1 - q^(largest + 1)) is inverted.

    Args:
        draws: (R,) float64 in [0, 1).
        largest: (R,) int64 >= 0.
        temperature: (R,) float64 >= 0.

    Returns:
        (R,) int64.

    >>> one = torch.ones(3, dtype=torch.float64)
    >>> draw_number(torch.tensor([0.0, 0.7, 0.99]).double(), torch.tensor([9, 9, 9]), one).tolist()
    [0, 1, 4]
    """
    log_q = -1.0 / temperature.clamp(min=1e-3)
    inside = draws * torch.expm1(log_q * (largest + 1))
    number = (torch.log1p(inside) / log_q).floor().long()
    return torch.minimum(number, largest).masked_fill(temperature <= 0, 0)


def _other_symbol(tokens: Tensor, draws: Tensor, protected: Tensor) -> Tensor:
    """Draw uniformly from the unprotected symbols other than each token."""
    symbols = (~protected).nonzero().squeeze(1)
    place = (~protected).cumsum(0) - 1  # of each unprotected symbol among them
    if symbols.numel() < 2:
        return tokens
    drawn = (draws * (symbols.numel() - 1)).floor().long()
    return symbols[drawn + (drawn >= place[tokens])]
