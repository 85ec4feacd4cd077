"""Which number of copies is worth paying for, from the variances between sentences and copies.

The mean gradient of B tokens with M copies of every sentence has the variance

    Var(B, M) = t_b / B + t_w / (B M)

where t_b is between sentences and t_w between the copies of a sentence, per token (`two_level`).
The correlation between the gradients of two copies of a sentence is rho = t_b / (t_b + t_w), and a
batch with M copies is worth B_eff / B = 1 / (rho + (1 - rho) / M) times its size: at most 1 / rho.
This is the analysis of Hoffer et al. 2019 (arXiv 1901.09335) with both variances measured.

The last doubling of M pays as long as t_w / M > t_b: then one per cent more copies are more than
half a per cent more effective batch. That is the rule here, with other prices of M too.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .critical_batch import update_progress
from .grouped_moments import GradientEstimates
from .jackknife import (
    Interval,
    Numbers,
    jackknife_covariance,
    plain_interval,
    ratio_interval,
    t_quantile,
)

WORTH = 0.5
"""Least gain, in log, that a step to more copies must bring for its price, in log."""


def effective_factor(correlation: float, replicas: float) -> float:
    """Return B_eff / B = 1 / (rho + (1 - rho) / M).

    Args:
        correlation: rho in [0, 1].
        replicas: M.

    >>> effective_factor(0.5, 4), effective_factor(1.0, 4), effective_factor(0.0, 4)
    (1.6, 1.0, 4.0)
    """
    return 1 / (correlation + (1 - correlation) / replicas)


class ReplicaVariance:
    """Predict from measured variances what any number of copies does.

    Args:
        found: measured with R >= 2 copies.
        confidence: of the intervals, in (0, 1).

    Attributes:
        between: t_b per token.
        within: t_w per token.
        squared_gradient: ``|G|^2``.
        correlation: rho, in [0, 1].

    Raises:
        ValueError: if one copy was measured.
    """

    def __init__(self, found: GradientEstimates, confidence: float = 0.95):
        if found.replicas < 2:
            raise ValueError(
                "the variance between copies cannot be told from one; measure two or more"
            )
        self._values = found.values
        self._covariance = jackknife_covariance(found.values, found.leave_out, found.shares)
        self._quantile = t_quantile(len(found.shares), confidence)
        self.between = self._linear(np.array([1.0, 0.0, 0.0])).clipped(0.0)
        self.within = self._linear(np.array([0.0, 1.0, 0.0])).clipped(0.0)
        self.squared_gradient = self._linear(np.array([0.0, 0.0, 1.0]))
        one = np.array([1.0, 1.0, 0.0])
        self.correlation = self._ratio(np.array([1.0, 0.0, 0.0]), one).clipped(0.0, 1.0)

    def _linear(self, weights: Numbers) -> Interval:
        value, variance = weights @ self._values, weights @ self._covariance @ weights
        return plain_interval(float(value), float(variance), self._quantile)

    def _ratio(self, above: Numbers, below: Numbers) -> Interval:
        weights = np.stack([above, below])
        numerator, denominator = weights @ self._values
        covariance = weights @ self._covariance @ weights.T
        return ratio_interval(float(numerator), float(denominator), covariance, self._quantile)

    def variance(self, replicas: int) -> Interval:
        """Return S(M) = t_b + t_w / M per token; the gradient of B tokens has S / B.

        Args:
            replicas: M.
        """
        return self._linear(np.array([1.0, 1 / replicas, 0.0])).clipped(0.0)

    def noise_scale(self, replicas: int) -> Interval:
        """Return the critical batch with M copies, S(M) / ``|G|^2``, in distinct tokens.

        Args:
            replicas: M.
        """
        return self._ratio(np.array([1.0, 1 / replicas, 0.0]), np.array([0.0, 0.0, 1.0]))

    def factor(self, replicas: float) -> Interval:
        """Return B_eff / B with M copies, in [1, M].

        Args:
            replicas: M; the formula also holds between whole numbers.
        """
        rho = self.correlation
        value = None if rho.value is None else effective_factor(rho.value, replicas)
        low, high = (effective_factor(end, replicas) for end in (rho.high, rho.low))
        return Interval(value, low, high)

    def progress(self, replicas: int, batch: float) -> Interval:
        """Return what an update of B tokens with M copies gains, as `update_progress`.

        Args:
            replicas: M.
            batch: B, distinct tokens.
        """
        scale = self.noise_scale(replicas)
        value = None if scale.value is None else update_progress(batch, scale.value)
        low, high = (update_progress(batch, end) for end in (scale.high, scale.low))
        return Interval(value, low, high)


@dataclass(frozen=True)
class Choice:
    """Hold the number of copies that is worth paying for.

    Attributes:
        replicas: M at the measured correlation.
        low: the least M that the correlation's interval allows.
        high: the largest.
        is_last: True if M is the largest that was offered, so that more may be worth it.
    """

    replicas: int
    low: int
    high: int
    is_last: bool


def choose(correlation: Interval, costs: Mapping[int, float], worth: float = WORTH) -> Choice:
    """Return the number of copies that is worth paying for.

    Args:
        correlation: rho; a value that is not known counts as 1.
        costs: M -> its price, M = 1 among them; rising.
        worth: see `worth_of_step`.

    >>> choose(Interval(0.2, 0.1, 0.4), {1: 1, 2: 2, 4: 4, 8: 8, 16: 16})
    Choice(replicas=4, low=2, high=8, is_last=False)
    """
    rho = 1.0 if correlation.value is None else correlation.value
    ends = (rho, correlation.high, correlation.low)
    middle, low, high = (_largest_worthwhile(end, costs, worth) for end in ends)
    return Choice(middle, low, high, middle == max(costs))


def _largest_worthwhile(correlation: float, costs: Mapping[int, float], worth: float) -> int:
    """Return the largest M up to which every step is worth its price."""
    offered = sorted(costs)
    for fewer, more in itertools.pairwise(offered):
        if worth_of_step(correlation, (fewer, costs[fewer]), (more, costs[more])) < worth:
            return fewer
    return offered[-1]


def worth_of_step(correlation: float, fewer: tuple[int, float], more: tuple[int, float]) -> float:
    """Return the rise of log B_eff by a step to more copies over the rise of log cost.

    For a small step that is (t_w / M) / (t_b + t_w / M) where cost is M: 1/2 at t_w / M = t_b.

    Args:
        correlation: rho in [0, 1].
        fewer: M and its price.
        more: likewise, with a larger M.

    Returns:
        1 where effective batch rises as the price does, 0 where it does not rise; infinity where
        the step costs nothing.

    >>> round(worth_of_step(0.0, (1, 1.0), (2, 2.0)), 6)
    1.0
    """
    gain = math.log(
        effective_factor(correlation, more[0]) / effective_factor(correlation, fewer[0])
    )
    price = math.log(more[1] / fewer[1])
    return gain / price if price > 0 else math.inf


def interpolated_costs(given: Mapping[int, float], replicas: Sequence[int]) -> dict[int, float]:
    """Return the price of each M, from prices of some, relative to M = 1.

    Between two given M the price is a straight line; beyond the last each copy costs as much as the
    copies before did on the average of the last line.

    Args:
        given: M -> price, > 0 and not falling; M = 1 is added with price 1 if it is missing.
        replicas: the M that are asked for; M = 1 is added.

    Raises:
        ValueError: if a price is not positive or falls.

    >>> interpolated_costs({1: 2.0, 4: 5.0}, [2, 4, 8])
    {1: 1.0, 2: 1.5, 4: 2.5, 8: 4.5}
    """
    known = sorted({1: 1.0, **given}.items())
    prices = [price for _, price in known]
    if not all(price > 0 and math.isfinite(price) for price in prices) or prices != sorted(prices):
        raise ValueError(
            f"prices {', '.join(f'{m}={price:g}' for m, price in known)} must be positive and not "
            "fall; pass the time of an update with M copies over that with one"
        )
    if len(known) == 1:
        known.append((2, 2 * prices[0]))
    return {m: _on_line(m, known) / known[0][1] for m in sorted({1, *replicas})}


def _on_line(replicas: int, known: Sequence[tuple[int, float]]) -> float:
    """Return the price of M on the lines between known ones, prolonged at the end."""
    at = next((i for i in range(1, len(known)) if replicas <= known[i][0]), len(known) - 1)
    (m0, p0), (m1, p1) = known[at - 1], known[at]
    return p0 + (p1 - p0) * (replicas - m0) / (m1 - m0)
