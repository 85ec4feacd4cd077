"""Penalties on the size of activations and on their change over time.

Shapes: T time steps, B rows, H hidden.
"""

from torch import Tensor

from .wide_product import wide_type


def activation_penalty(
    dropped: Tensor, raw: Tensor, ar: float, tar: float, keep: Tensor | None = None
) -> Tensor:
    """Return the activation and temporal activation regularisation of AWD-LSTM.

    ar * mean(dropped[t]^2) + tar * mean((raw[t + 1] - raw[t])^2), where means are over all
    elements: time steps, rows and units. With ``keep``, only steps that are kept count, and only
    pairs of two such steps. Computed in at least float32.
    Source: Merity et al. 2018, section 4.6.

    Args:
        dropped: (T, B, H), the last layer's output after dropout.
        raw: (T, B, H), the same before dropout.
        ar: weight of the first term, >= 0.
        tar: weight of the second term, >= 0; without a pair of steps the term is 0.
        keep: (T, B) bool, False where a step is padding; None if none is.

    Returns:
        0-dim, differentiable.

    >>> import torch
    >>> h = torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    >>> activation_penalty(h, h, ar=1.0, tar=0.0).item()  # (1 + 4 + 16) / 3
    7.0
    >>> activation_penalty(h, h, ar=0.0, tar=1.0).item()  # (1 + 4) / 2
    2.5
    """
    total = dropped.new_zeros((), dtype=wide_type(dropped.dtype))
    if ar:
        total = total + ar * _mean_square(dropped, keep)
    if tar:
        pairs = None if keep is None else keep[1:] & keep[:-1]
        total = total + tar * _mean_square(raw[1:] - raw[:-1], pairs)
    return total


def _mean_square(x: Tensor, keep: Tensor | None) -> Tensor:
    """Return the mean of squares over kept steps; 0 if there is none."""
    squares = x.to(wide_type(x.dtype)).square()
    if keep is None:
        return squares.sum() / max(1, x.numel())
    # where, not a product: what a padded step holds may be infinite.
    kept = squares.where(keep.unsqueeze(-1), 0)
    return kept.sum() / (keep.sum() * x.size(-1)).clamp(min=1)
