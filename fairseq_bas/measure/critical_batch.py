"""The critical batch size at a checkpoint, with error bars, and what batches around it are worth.

S is the variance of the gradient per token and G its mean, of one copy of every sentence; the noise
scale B_noise = S / ``|G|^2`` is the batch at which both are equal (McCandlish et al. 2018, arXiv
1812.06162, section 2). Near it, doubling the batch begins to buy less than half the updates.
"""

import math
from dataclasses import dataclass

import numpy as np

from .grouped_moments import GradientEstimates
from .jackknife import (
    Interval,
    Numbers,
    jackknife_covariance,
    plain_interval,
    ratio_interval,
    t_quantile,
)


@dataclass(frozen=True)
class CriticalBatch:
    """Hold S and ``|G|^2`` with error bars.

    Attributes:
        variance: S per token.
        squared_gradient: ``|G|^2``.
        noise_scale: B_noise in tokens; the value is None where ``|G|^2`` is not seen.
        covariance: (2, 2) of the first two.
        quantile: standard errors in an interval.
    """

    variance: Interval
    squared_gradient: Interval
    noise_scale: Interval
    covariance: Numbers
    quantile: float


def critical_batch(found: GradientEstimates, confidence: float = 0.95) -> CriticalBatch:
    """Return the noise scale of gradients that were measured.

    Args:
        found: estimates; S = t_b + t_w, what one copy of every sentence gives.
        confidence: of the intervals, in (0, 1).
    """
    to_sum = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    values = to_sum @ found.values
    covariance = jackknife_covariance(values, found.leave_out @ to_sum.T, found.shares)
    return _made(values, covariance, t_quantile(len(found.shares), confidence))


def _made(values: Numbers, covariance: Numbers, quantile: float) -> CriticalBatch:
    variance, squared = float(values[0]), float(values[1])
    return CriticalBatch(
        plain_interval(variance, float(covariance[0, 0]), quantile).clipped(0.0),
        plain_interval(squared, float(covariance[1, 1]), quantile),
        ratio_interval(variance, squared, covariance, quantile),
        covariance,
        quantile,
    )


@dataclass(frozen=True)
class LengthPart:
    """Hold what micro-batches of sentences of like length add to the variance.

    Attributes:
        variance: S of such micro-batches, per token.
        between_lengths: what of it is more than S of random micro-batches: the gradient differs by
            length, and a micro-batch shows one length only. It grows with the micro-batch.
        share: of S, in [0, 1].
        noise_scale: S of such micro-batches over ``|G|^2``.
    """

    variance: Interval
    between_lengths: Interval
    share: float
    noise_scale: Interval


def length_part(random: CriticalBatch, bucketed: CriticalBatch) -> LengthPart:
    """Compare micro-batches of random sentences with those of sentences of like length.

    The two were drawn independently; ``|G|^2`` is taken from the random ones, where it is known
    better.

    Args:
        random: from micro-batches of sentences of all lengths.
        bucketed: from micro-batches as fairseq makes them.
    """
    s_random, s_bucketed = _known(random.variance), _known(bucketed.variance)
    v_random, v_bucketed = float(random.covariance[0, 0]), float(bucketed.covariance[0, 0])
    difference = plain_interval(s_bucketed - s_random, v_random + v_bucketed, random.quantile)
    covariance = np.diag([v_bucketed, float(random.covariance[1, 1])])
    squared = _known(random.squared_gradient)
    difference = difference.clipped(0.0)
    return LengthPart(
        bucketed.variance,
        difference,
        _known(difference) / s_bucketed if s_bucketed > 0 else 0.0,
        ratio_interval(s_bucketed, squared, covariance, random.quantile),
    )


def _known(interval: Interval) -> float:
    return 0.0 if interval.value is None else interval.value


def update_progress(batch: float, noise_scale: float) -> float:
    """Return what an update gains, as a share of an update with the whole gradient.

    With the best step for the batch, 1 / (1 + B_noise / B) (McCandlish et al. 2018, equation 2.7).

    Args:
        batch: B, in the unit of the noise scale, > 0.
        noise_scale: B_noise >= 0, may be infinite.

    >>> update_progress(1000.0, 3000.0), update_progress(1000.0, math.inf)
    (0.25, 0.0)
    """
    return 1 / (1 + noise_scale / batch)


def data_efficiency(batch: float, noise_scale: float) -> float:
    """Return what a token gains, as a share of one in a batch that is very small.

    Updates needed grow as 1 + B_noise / B and tokens as 1 + B / B_noise, so this is
    1 / (1 + B / B_noise), half at the noise scale.

    Args:
        batch: B, in the unit of the noise scale, > 0.
        noise_scale: B_noise >= 0, may be infinite.

    >>> data_efficiency(1000.0, 3000.0), data_efficiency(1000.0, math.inf)
    (0.75, 1.0)
    """
    return 0.0 if noise_scale == 0 else 1 / (1 + batch / noise_scale)


def batches_around(noise_scale: float, count: int = 9) -> list[float]:
    """Return batches to judge: powers of two with B_noise in their middle.

    Args:
        noise_scale: in tokens, finite.
        count: how many, odd.

    >>> batches_around(1000.0, 3)
    [512.0, 1024.0, 2048.0]
    """
    middle = round(math.log2(max(noise_scale, 1.0)))
    first = max(0, middle - count // 2)
    return [2.0**power for power in range(first, first + count)]
