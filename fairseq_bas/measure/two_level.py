"""Variance between sentences and between copies: what M noised copies of a batch are worth.

The gradient of copy m of token i is x_im = y_i + e_im: y_i varies over the data with total variance
t_b (between), e_im over the noise with t_w (within), independent for each copy. The mean over M
copies has the variance S = t_b + t_w / M per token; S is what `noise_scale` estimates.

The M copies of a micro-batch of n_k tokens run as P passes of R = M / P copies each. Losses are
divided by M, so the gradients g_kp of the passes add up to s_k, and P g_kp is the sum over tokens
of the mean of R copies. Given the sentences, the P gradients P g_kp are independent with the mean
of s_k and the variance n_k t_w / R, so their sample variance has this expectation:

    E[ sum_p ||P g_kp - s_k||^2 / (P - 1) ] = n_k t_w / R

Divided by n_k it is t_w / R whatever the size of the micro-batch, each time from P - 1 differences,
so the plain mean over the K micro-batches is taken:

    t_w = (M / P) (1 / K) sum_k sum_p ||P g_kp - s_k||^2 / (P - 1) / n_k        t_b = S - t_w / M

Noise that is one draw for a whole pass (dropped weights) moves all its tokens together; t_w is then
what it amounts to at the size of micro-batch that was measured.
"""

import math

from .noise_scale import (
    GradientMoments,
    NoiseScaleEstimate,
    variance_and_squared_gradient,
)


def within_variance(moments: GradientMoments, replicas: int, passes: int) -> float | None:
    """Return t_w, the variance per token that noise gives the gradient of one copy.

    Args:
        moments: sums over the micro-batches of one or more updates with the same M and P.
        replicas: M, copies in the P passes.
        passes: P, a divisor of M.

    Returns:
        t_w per token, >= 0 but for rounding; None if P = 1, which shows no differences, or if
        nothing was measured.

    Raises:
        ValueError: if P does not divide M.

    >>> within_variance(GradientMoments(2, 100, 9.0, within=3.0), replicas=4, passes=2)
    3.0
    """
    if passes < 1 or replicas % passes:
        raise ValueError(
            f"{replicas} replicas do not make {passes} equal passes; "
            f"pass the numbers with which the gradients were measured"
        )
    if passes == 1 or moments.within is None or moments.micro_batches == 0:
        return None
    return replicas / passes * moments.within / moments.micro_batches


def between_variance(variance: float, within: float, replicas: int) -> float:
    """Return t_b = S - t_w / M, the variance per token between sentences.

    The difference of two estimates may be negative; it is not clipped here, so that averages of it
    stay unbiased. `effective_batch_factor` and whatever is reported clips it at 0.

    Args:
        variance: S per token of the mean over M copies.
        within: t_w per token of one copy.
        replicas: M.

    >>> between_variance(10.0, 8.0, 4)
    8.0
    """
    return variance - within / replicas


def effective_batch_factor(between: float, within: float, replicas: int) -> float:
    """Return how many times its size a batch with M copies is worth: B_eff / B.

    B_eff single copies of as many distinct sentences would have a mean gradient of the same
    variance: (t_b + t_w) / B_eff = (t_b + t_w / M) / B.

    Args:
        between: t_b per token; clipped at 0.
        within: t_w per token of one copy; clipped at 0.
        replicas: M.

    Returns:
        B_eff / B in [1, M]: 1 where the copies are alike, M where sentences are.

    >>> effective_batch_factor(1.0, 0.0, 4), effective_batch_factor(0.0, 1.0, 4)
    (1.0, 4.0)
    >>> effective_batch_factor(1.0, 1.0, 4)
    1.6
    """
    between, within = max(between, 0.0), max(within, 0.0)
    if between + within == 0:
        return 1.0
    return (between + within) / (between + within / replicas)


def estimate(
    moments: GradientMoments,
    squared_norm_of_mean: float,
    replicas: int = 1,
    passes: int = 1,
    sharing: int = 1,
) -> NoiseScaleEstimate | None:
    """Return all that one update tells about its gradient.

    Where W workers share the copies of a micro-batch, each records its part h_kw of s_k as a
    micro-batch of its own, so ``moments`` counts W K micro-batches and W N tokens. W h_kw is the
    sum over tokens of the mean of M / W copies, so A over all W K of them has the expectation
    ``|G|^2`` + (K / N) (t_b + W t_w / M), b is as ever, and

        S = (N (A - b) - K (W - 1) t_w / M) / (K - 1).

    That needs t_w, so at least two passes on each worker.

    Args:
        moments: sums over the micro-batches of the update, of all workers.
        squared_norm_of_mean: b, squared norm of the update's mean gradient, before clipping.
        replicas: M.
        passes: P, passes of each worker.
        sharing: W, workers that share the copies of a micro-batch; a divisor of M / P.

    Returns:
        The estimate; None if this update cannot tell: it has one micro-batch, its copies are
        spread over workers in single passes, or a gradient was not finite.

    >>> estimate(GradientMoments(2, 4, 13.0), 3.0625)
    NoiseScaleEstimate(variance=0.75, squared_gradient=2.875, tokens=4, within=None, replicas=1)
    """
    distinct = _as_distinct(moments, sharing)
    within = within_variance(distinct, replicas // sharing, passes)
    unknown = sharing > 1 and within is None
    if distinct.micro_batches < 2 or distinct.tokens <= 0 or unknown:
        return None
    variance, _ = variance_and_squared_gradient(distinct, squared_norm_of_mean)
    if within is not None:
        count = distinct.micro_batches
        variance -= count * (sharing - 1) * within / replicas / (count - 1)
    squared_gradient = squared_norm_of_mean - variance / distinct.tokens
    if not math.isfinite(variance + squared_gradient + (within or 0.0)):
        return None
    return NoiseScaleEstimate(variance, squared_gradient, distinct.tokens, within, replicas)


def _as_distinct(moments: GradientMoments, sharing: int) -> GradientMoments:
    """Return the sums with one entry for each distinct micro-batch: means over its W workers.

    The gradients are brought to the size of a whole micro-batch, W times what a worker saw.
    """
    if sharing == 1:
        return moments
    within = moments.within
    return GradientMoments(
        moments.micro_batches / sharing,
        moments.tokens / sharing,
        moments.square * sharing,
        None if within is None else within * sharing,
    )
