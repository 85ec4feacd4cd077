"""Draw symbols from a distribution over the vocabulary.

Shapes: V vocabulary.
"""

import torch
from torch import Tensor


def cumulative_of(frequency: Tensor) -> Tensor:
    """Return the cumulative distribution of frequencies.

    Args:
        frequency: (V,) float64 >= 0, not all 0.

    Returns:
        (V,) float64, its last value at least 1 from the last symbol of positive frequency on.

    >>> cumulative_of(torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)).tolist()
    [0.0, 0.25, 1.0]
    """
    cumulative = frequency.cumsum(0)
    return cumulative / cumulative[-1]


def draw_symbols(draws: Tensor, cumulative: Tensor) -> Tensor:
    """Turn uniform draws into symbols by inverting the cumulative distribution.

    Args:
        draws: any shape, float64 in [0, 1).
        cumulative: (V,) float64, of ``cumulative_of``.

    Returns:
        int64 of the shape of ``draws``; never a symbol of frequency 0.

    >>> draw_symbols(torch.tensor([0.0, 0.3]).double(), torch.tensor([0, 0.25, 1.0]).double())
    tensor([1, 2])
    """
    return torch.searchsorted(cumulative, draws.contiguous(), right=True)
