"""Dropout whose mask stays the same over time.

Shapes: T time steps, B rows, H hidden.
"""

from torch import Tensor

from .random_mask import check_rate


def locked_dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Drop the same units of a row at every time step (variational dropout).

    With d ~ Bernoulli(rate) for each row and unit, x[t, b, h] * (1 - d[b, h]) / (1 - rate).
    Source: Gal and Ghahramani 2016; Merity et al. 2018, section 4.2.

    Args:
        x: (T, B, H) floating point.
        rate: probability in [0, 1) that a unit is dropped.
        training: return ``x`` itself if False.

    Returns:
        (T, B, H); the expectation over masks is ``x``.

    Raises:
        ValueError: if ``rate`` is out of range.

    >>> import torch
    >>> dropped = locked_dropout(torch.ones(3, 2, 8), 0.5)
    >>> bool((dropped == dropped[0]).all()), sorted(set(dropped.flatten().tolist()))
    (True, [0.0, 2.0])
    """
    check_rate(rate)
    if not training or rate == 0:
        return x
    mask = x.new_empty(1, *x.shape[1:]).bernoulli_(1 - rate).div_(1 - rate)
    return x * mask
