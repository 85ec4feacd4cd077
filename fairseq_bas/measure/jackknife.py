"""Error bars of smooth functions of means: the jackknife that leaves out a group at a time.

Shapes: G groups, P estimated numbers.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Hold an estimate and its confidence interval.

    Attributes:
        value: the estimate; None where the data do not allow one.
        low: lower end.
        high: upper end, infinity where the data bound nothing.
    """

    value: float | None
    low: float
    high: float

    def clipped(self, low: float, high: float = math.inf) -> "Interval":
        """Return the interval held to the range that its quantity can have.

        >>> Interval(-0.1, -0.3, 0.2).clipped(0.0)
        Interval(value=0.0, low=0.0, high=0.2)
        """
        value = None if self.value is None else min(max(self.value, low), high)
        return Interval(value, min(max(self.low, low), high), min(max(self.high, low), high))


def jackknife_covariance(estimate: Numbers, leave_out: Numbers, shares: Numbers) -> Numbers:
    r"""Return the covariance of P estimates, from what they are without each of G groups.

    The delete-m_j jackknife of Busing, Meijer and van der Leeden 1999 (Statistics and Computing 9),
    for groups of unequal size. With h_j = 1 / share_j, pseudo-values p_j = h_j e - (h_j - 1) e_j
    and their weighted mean, it is the mean over groups of (p_j - mean)^2 / (h_j - 1). For equal
    groups that is (G - 1) / G times the sum of squared deviations of the e_j.

    Args:
        estimate: (P,), e from all data.
        leave_out: (G, P), e_j from all data but group j.
        shares: (G,), of the data in each group, in (0, 1); they add up to 1.

    Returns:
        (P, P), symmetric, positive semi-definite.

    Raises:
        ValueError: if there are fewer than two groups.

    >>> data = np.array([1.0, 2.0, 6.0, 7.0])
    >>> leave_out = np.array([np.delete(data, j).mean() for j in range(4)])[:, None]
    >>> variance = jackknife_covariance(np.array([4.0]), leave_out, np.full(4, 0.25))
    >>> bool(np.isclose(variance.item(), data.var(ddof=1) / 4))
    True
    """
    count = len(leave_out)
    if count < 2:
        raise ValueError(f"{count} group of gradients shows no error bar; pass two or more")
    inverse = (1 / shares)[:, None]
    pseudo = inverse * estimate - (inverse - 1) * leave_out
    centre = (shares[:, None] * pseudo).sum(axis=0)
    deviations = (pseudo - centre) / np.sqrt(inverse - 1)
    covariance: Numbers = deviations.T @ deviations / count
    return covariance


def t_quantile(groups: int, confidence: float) -> float:
    """Return the quantile of Student's t that makes a two-sided interval from G groups.

    Args:
        groups: G >= 2.
        confidence: in (0, 1).

    >>> round(t_quantile(16, 0.95), 3)
    2.131
    """
    from scipy.stats import t  # an import that costs a second

    return float(t.ppf(0.5 + confidence / 2, groups - 1))


def plain_interval(value: float, variance: float, quantile: float) -> Interval:
    """Return value +- quantile x standard error.

    >>> plain_interval(3.0, 0.25, 2.0)
    Interval(value=3.0, low=2.0, high=4.0)
    """
    half = quantile * math.sqrt(max(variance, 0.0))
    return Interval(value, value - half, value + half)


def ratio_interval(
    numerator: float, denominator: float, covariance: Numbers, quantile: float
) -> Interval:
    """Return the confidence interval of a ratio of two means that cannot be negative.

    Fieller's theorem: the ratios x for which ``numerator - x denominator`` is no further than
    ``quantile`` standard errors from 0. Unlike a linearised error bar it stays true where the
    denominator is barely known; its upper end is then infinite.

    Args:
        numerator: a, an estimate of a number >= 0.
        denominator: b, likewise.
        covariance: (2, 2) of a and b.
        quantile: of Student's t or the normal distribution.

    Returns:
        The interval, ends in [0, inf]; the value is None if b is not positive.

    >>> ratio_interval(6.0, 2.0, np.diag([0.25, 0.0]), 2.0)
    Interval(value=3.0, low=2.5, high=3.5)
    >>> ratio_interval(6.0, 0.1, np.diag([0.01, 0.01]), 2.0).high
    inf
    """
    square = quantile**2
    a = denominator**2 - square * float(covariance[1, 1])
    b = numerator * denominator - square * float(covariance[0, 1])
    c = numerator**2 - square * float(covariance[0, 0])
    value = numerator / denominator if denominator > 0 else None
    discriminant = b * b - a * c
    if a > 0:
        root = math.sqrt(max(discriminant, 0.0))
        low, high = (b - root) / a, (b + root) / a
    elif discriminant > 0 and a < 0 and numerator > 0:
        low, high = max((b - s * math.sqrt(discriminant)) / a for s in (1, -1)), math.inf
    else:
        low, high = 0.0, math.inf
    return Interval(value, low, high).clipped(0.0)
