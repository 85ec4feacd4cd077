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
    return torch.where(chosen, other_symbol(tokens, draws, vocabulary.protected), tokens)


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


def other_symbol(tokens: Tensor, draws: Tensor, protected: Tensor) -> Tensor:
    """Draw uniformly from the unprotected symbols other than each token.

    Args:
        tokens: any shape, int64; a protected one (a mask) has all unprotected symbols for others.
        draws: float64 in [0, 1), of the shape of ``tokens``.
        protected: (V,) bool.

    Returns:
        int64; the token itself where there is no other symbol.

    >>> protected = torch.tensor([True, False, False, False])
    >>> other_symbol(torch.tensor([2, 2, 0]), torch.tensor([0.4, 0.6, 0.6]).double(), protected)
    tensor([1, 3, 2])
    """
    # Unprotected symbols up to each symbol; searched instead of listing them, which would make the
    # CPU wait for the device.
    rank = (~protected).cumsum(0)
    among_them = ~protected[tokens]
    choices = rank[-1] - among_them.long()
    drawn = (draws * choices).floor().long() + 1
    drawn += among_them & (drawn >= rank[tokens])
    return torch.where(choices > 0, torch.searchsorted(rank, drawn), tokens)
