"""Whether a noisy loss has begun to rise: the Gaussian-process test of AutoWU.

Kim et al. 2021 (arXiv 2107.05855). The loss over training is smoothed by regression with a Gaussian
process of fixed length scale, so that neither a window nor a smoothing factor has to be chosen, and
the test asks how sure it is that the smooth curve was lower before than it is now.

Where the learning rate grows over training, the smooth loss also shows where training made the most
of it: where it fell fastest. Its first fast fall does not count. In that the model learns how
frequent words are, at whatever learning rate there is then.

Losses are standardised first (mean 0, variance 1 over all of them), so the test does not depend on
their unit; the paper's code subtracts the mean only.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LENGTH_SCALE = 0.2
"""Of the smooth curve, as a share of the steps seen so far."""

JITTER = 1e-4
"""Added to the variance of a difference, in units of the variance of the losses."""

PROMINENCE = 0.1
"""Of a fast fall of the loss, as a share of its greatest speed."""

CONFIDENCE = 0.95
POSTERIORS = 5
FIT_POINTS = 100
POINTS = 500
GRID = 500
_LEAST_POINTS = 2


@dataclass(frozen=True)
class LossTrend:
    """What several smooth curves through random parts of the losses say.

    Args:
        votes: how many curves have, surely enough, been lower before their end.
        argmins: for each curve the step at which it is lowest, between the first step and the last.
        falls: the step of its fastest fall after the first one, of each curve that has two.
    """

    votes: int
    argmins: tuple[float, ...]
    falls: tuple[float, ...] = ()

    @property
    def fell_twice(self) -> bool:
        """Whether most of the curves have a fast fall after their first one."""
        return 2 * len(self.falls) > len(self.argmins)

    @property
    def passed_minimum(self) -> bool:
        """Whether most of the curves vote that the minimum lies in the past."""
        return 2 * self.votes > len(self.argmins)


def loss_trend(
    steps: Sequence[float], losses: Sequence[float], key: Sequence[int] = (0,)
) -> LossTrend:
    r"""Test whether the smoothed loss has had its minimum before the last step.

    With a kernel :math:`a\,\mathrm{RBF}(0.2) + b\,\mathrm{White}` on steps scaled to [0, 1],
    a and b are fitted once by maximum likelihood, on at most 100 losses; 5 curves are then each
    conditioned on at most 500 other losses. A curve votes if `sureness_of_rise` exceeds 0.95.

    Args:
        steps: (n,) increasing, in any unit.
        losses: (n,) raw losses in nats; what is not finite is left out.
        key: whole numbers >= 0 that the random choice of losses depends on, and on nothing else.

    Returns:
        The votes and, for each curve, the steps of its minimum and of its second fall.

    Raises:
        ValueError: if fewer than 2 losses are finite, or all finite ones are of one step.

    Example:
        >>> import math
        >>> rising = [math.cos(t / 30) for t in range(130)]  # lowest at 30 pi = 94
        >>> trend = loss_trend(range(130), rising)
        >>> trend.votes, trend.passed_minimum, round(trend.argmins[0])
        (5, True, 94)
        >>> loss_trend(range(80), rising[:80]).passed_minimum
        False
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < _LEAST_POINTS or x[0] == x[-1]:
        raise ValueError(f"{len(x)} finite losses show no trend; record at least {_LEAST_POINTS}")
    first, span = x[0], x[-1] - x[0]
    x = (x - first) / span
    y = (y - y.mean()) / (y.std() or 1.0)
    generator = np.random.default_rng(list(key))

    def some(most: int) -> npt.NDArray[np.intp]:
        return np.sort(generator.choice(len(x), size=min(most, len(x)), replace=False))

    chosen = some(FIT_POINTS)
    amplitude, noise = fit_kernel(x[chosen], y[chosen])
    grid = np.linspace(0.0, 1.0, GRID)
    votes, argmins, falls = 0, [], []
    for _ in range(POSTERIORS):
        chosen = some(POINTS)
        mean, covariance = posterior(x[chosen], y[chosen], grid, amplitude, noise)
        votes += sureness_of_rise(mean, covariance) > CONFIDENCE
        argmins.append(float(first + span * grid[mean.argmin()]))
        fall = second_fall(mean)
        if fall is not None:
            falls.append(float(first + span * grid[fall]))
    return LossTrend(int(votes), tuple(argmins), tuple(falls))


def second_fall(mean: Array) -> int | None:
    """Return where a curve falls fastest, its first fall and what follows its minimum left out.

    A fall is a local maximum of the speed at which the curve falls; the last point before the
    minimum is one if the speed still rises there. It counts only if its prominence is a tenth of
    the greatest speed: noise makes smaller ones.

    Args:
        mean: (k,) values at equal distances, k >= 3.

    Returns:
        Index of the point, or None if the curve has one fall or none.

    Example:
        >>> import numpy as np
        >>> second_fall(-np.cumsum([1, 5, 2, 1, 3, 4, 2, -1, 0.0]))
        4
        >>> second_fall(-np.cumsum([1, 5, 2, 1, -1, 0.0])) is None
        True
    """
    from scipy.signal import find_peaks

    speed = -np.gradient(mean)[: int(mean.argmin()) + 1]
    # Ends are peaks too, which scipy grants to what is inside only.
    padded = np.pad(speed, 1, constant_values=speed.min() - 1)
    falls = find_peaks(padded, prominence=PROMINENCE * speed.max())[0][1:] - 1
    return int(falls[speed[falls].argmax()]) if len(falls) else None


def fit_kernel(x: Array, y: Array) -> tuple[float, float]:
    """Fit the variance of the smooth curve and of the noise by maximum likelihood.

    Args:
        x: (n,) positions in [0, 1].
        y: (n,) values with mean about 0 and variance about 1.

    Returns:
        (amplitude, noise), both variances: amplitude in [1e-3, 1e3], noise in [1e-5, 10].
    """
    # Here, because scikit-learn takes a second to import.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    smooth = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(LENGTH_SCALE, "fixed")
    process = GaussianProcessRegressor(smooth + WhiteKernel(0.1, (1e-5, 10.0)))
    with warnings.catch_warnings():
        # It warns where a variance ends at a bound, which is a good answer here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(x[:, None], y)
    return float(process.kernel_.k1.k1.constant_value), float(process.kernel_.k2.noise_level)


def posterior(
    x: Array, y: Array, grid: Array, amplitude: float, noise: float
) -> tuple[Array, Array]:
    r"""Condition a Gaussian process on noisy values.

    :math:`\mu = K_{gx} (K_{xx} + b I)^{-1} y` and
    :math:`C = K_{gg} - K_{gx} (K_{xx} + b I)^{-1} K_{xg}`, with
    :math:`K_{uv} = a \exp(-(u - v)^2 / (2 \cdot 0.2^2))`.

    Args:
        x: (n,) positions.
        y: (n,) values.
        grid: (k,) positions of the answer.
        amplitude: a, variance of the curve.
        noise: b, variance of the noise.

    Returns:
        (mean (k,), covariance (k, k)) of the curve without noise.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    # The noise as alpha, not as a kernel: predict would add a WhiteKernel to the answer.
    smooth = ConstantKernel(amplitude) * RBF(LENGTH_SCALE)
    process = GaussianProcessRegressor(smooth, alpha=noise, optimizer=None).fit(x[:, None], y)
    mean, covariance = process.predict(grid[:, None], return_cov=True)
    return mean, covariance


def sureness_of_rise(mean: Array, covariance: Array) -> float:
    r"""Return the largest probability that an earlier value of a curve is below its last one.

    :math:`\max_{i<k} P(f_i < f_k)` for :math:`f \sim N(\mu, C)`, where
    :math:`f_i - f_k \sim N(\mu_i - \mu_k, C_{ii} + C_{kk} - 2 C_{ik} + 10^{-4})`.

    Args:
        mean: (k,).
        covariance: (k, k).

    Returns:
        A probability.

    Example:
        >>> import numpy as np
        >>> round(sureness_of_rise(np.array([0.0, 1.0]), np.eye(2) / 2), 4)  # Phi(1)
        0.8413
    """
    variance = np.diag(covariance) + covariance[-1, -1] - 2 * covariance[-1]
    scores = (mean[-1] - mean) / np.sqrt(np.maximum(variance, 0.0) + JITTER)
    return 0.5 * math.erfc(-float(scores[:-1].max()) / math.sqrt(2.0))
