"""The gradient noise scale of one update, from ragged micro-batches weighted by their tokens.

The gradient of a token has mean G and covariance of trace S over the data. A micro-batch k of n_k
tokens has the summed gradient s_k; an update has K of them, on all workers, and N = sum of n_k
tokens. McCandlish et al. 2018 (arXiv 1812.06162) compare the squared norms of a large and a small
batch; the form here is the unbiased one where micro-batches differ in size.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class GradientMoments:
    """What micro-batches add to the estimate: sums over micro-batches, workers included.

    Args:
        micro_batches: K, those with at least one token.
        tokens: N, the sum of n_k (or sentences, where gradients are averaged over sentences).
        square: the sum over k of ``||s_k||^2 / n_k``.
        within: the sum over k of ``sum_p ||P g_kp - s_k||^2 / (P - 1) / n_k`` where the copies of
            each micro-batch ran as P > 1 passes (see `two_level`), None if unknown.

    >>> GradientMoments(1, 40, 5.0) + GradientMoments(1, 60, 7.0)
    GradientMoments(micro_batches=2, tokens=100, square=12.0, within=None)
    """

    micro_batches: float = 0
    tokens: float = 0
    square: float = 0
    within: float | None = None

    def __add__(self, other: "GradientMoments") -> "GradientMoments":
        parts = [part for part in (self, other) if part.micro_batches > 0]
        return GradientMoments(
            self.micro_batches + other.micro_batches,
            self.tokens + other.tokens,
            self.square + other.square,
            _sum_of_known(part.within for part in parts),
        )


def _sum_of_known(values: Iterable[float | None]) -> float | None:
    """Return the sum, None if any of the values is unknown or there are none."""
    total: float | None = None
    for index, value in enumerate(values):
        if value is None:
            return None
        total = value if index == 0 or total is None else total + value
    return total


def variance_and_squared_gradient(
    moments: GradientMoments, squared_norm_of_mean: float
) -> tuple[float, float]:
    """Return unbiased estimates of S and ``|G|^2`` from one update.

    With A = (1/N) sum_k ``||s_k||^2 / n_k``, the token-weighted mean of the squared norms of the
    micro-batch means, and b = ``||sum_k s_k||^2 / N^2``, the expectations for tokens drawn
    independently are E[A] = ``|G|^2`` + K S / N and E[b] = ``|G|^2`` + S / N. So

        S = N (A - b) / (K - 1)        ``|G|^2`` = b - S / N

    whatever the sizes n_k are. S is never negative but for rounding (squared norms are convex);
    the estimate of ``|G|^2`` can be.

    Micro-batches made of sentences of like length differ by more than chance; S then contains what
    gradients differ by length. It is the variance of batches as they are drawn.

    Args:
        moments: sums over the micro-batches of the update, of all workers.
        squared_norm_of_mean: b, squared norm of the update's mean gradient, before clipping.

    Returns:
        S per token, and ``|G|^2``.

    Raises:
        ValueError: if there are fewer than two micro-batches.

    >>> # Two micro-batches of 1 and 3 tokens with mean gradients 1 and 2 of one parameter.
    >>> variance_and_squared_gradient(GradientMoments(2, 4, 1 / 1 + 36 / 3), (7 / 4) ** 2)
    (0.75, 2.875)
    """
    count, tokens = moments.micro_batches, moments.tokens
    if count < 2:
        raise ValueError(
            f"the variance of the gradient cannot be told from {count:g} micro-batches; "
            f"use at least two an update, by more workers or a larger update frequency"
        )
    mean_square = moments.square / tokens
    variance = tokens * (mean_square - squared_norm_of_mean) / (count - 1)
    return variance, squared_norm_of_mean - variance / tokens


def noise_scale(variance: float, squared_gradient: float) -> float | None:
    """Return the batch at which noise and signal of the gradient are equal: S / ``|G|^2``.

    Args:
        variance: S per token; a negative one, which only rounding makes, counts as zero.
        squared_gradient: ``|G|^2``.

    Returns:
        The noise scale in tokens, None if ``|G|^2`` is not positive: the gradient was not seen
        above its noise.

    >>> noise_scale(30.0, 0.01), noise_scale(30.0, -0.01)
    (3000.0, None)
    """
    if squared_gradient <= 0:
        return None
    return max(variance, 0.0) / squared_gradient


@dataclass(frozen=True)
class NoiseScaleEstimate:
    """What one update tells about its gradient; single estimates are noisy, so average them.

    Args:
        variance: S per token, of the mean over the M copies of a token's gradient.
        squared_gradient: ``|G|^2``; may be negative.
        tokens: N of the update, distinct tokens.
        within: t_w per token of one copy, the variance that the noise of copies makes; None where
            it was not measured.
        replicas: M.
    """

    variance: float
    squared_gradient: float
    tokens: float
    within: float | None = None
    replicas: int = 1

    @property
    def noise_scale(self) -> float | None:
        """Return S / ``|G|^2`` in tokens, None if ``|G|^2`` is not positive."""
        return noise_scale(self.variance, self.squared_gradient)
