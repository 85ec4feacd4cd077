"""Dropout of single weights (DropConnect)."""

import torch
from torch import Tensor

from .random_mask import check_rate, random_mask


def drop_weights(weight: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero randomly chosen weights and scale up the others.

    With d ~ Bernoulli(rate) for each weight, weight * (1 - d) / (1 - rate).
    Source: Wan et al. 2013; of recurrent weights, Merity et al. 2018, section 2.

    Args:
        weight: any shape, floating point.
        rate: probability in [0, 1) that a weight is dropped.
        generator: draws the mask, on the device of ``weight``; None for torch's own.

    Returns:
        A tensor like ``weight``, whose expectation over masks is ``weight``; ``weight`` itself if
        ``rate`` is 0.

    Raises:
        ValueError: if ``rate`` is out of range.

    >>> sorted(set(drop_weights(torch.ones(64), 0.75).tolist()))
    [0.0, 4.0]
    """
    check_rate(rate)
    if rate == 0:
        return weight
    dropped = random_mask(weight.shape, rate, weight.device, generator)
    return weight * dropped.logical_not_().to(weight.dtype).div_(1 - rate)
