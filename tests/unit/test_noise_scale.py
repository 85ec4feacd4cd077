"""Estimates of S and |G|^2 against known covariances, and against sample variances."""

import numpy as np
import pytest

from fairseq_bas.measure.noise_scale import (
    GradientMoments,
    NoiseScaleEstimate,
    noise_scale,
    variance_and_squared_gradient,
)

SIZES = (40, 55, 90, 200, 400, 900, 1800, 3000)
MEAN = np.array([0.15, -0.1, 0.1, 0.05, 0.0, 0.02])
MIXING = np.diag([1.0, 2.0, 1.5, 1.8, 1.5, 1.2]) + 0.1  # tokens are mean + MIXING @ (skewed noise)
TRUE_VARIANCE, TRUE_SIGNAL = np.trace(MIXING @ MIXING.T), MEAN @ MEAN


def draw(random, sizes):
    """Return the summed gradient (D,) of each micro-batch; tokens are independent and skewed."""
    noise = [random.exponential(size=(size, len(MEAN))) - 1 for size in sizes]
    return [
        size * MEAN + (MIXING @ part.sum(axis=0)) for size, part in zip(sizes, noise, strict=True)
    ]


def moments_of(sums, sizes):
    return sum(
        (GradientMoments(1, n, s @ s / n) for s, n in zip(sums, sizes, strict=True)),
        GradientMoments(),
    )


def squared_mean(sums, sizes):
    mean = sum(sums) / sum(sizes)
    return mean @ mean


def plain(sums, sizes):
    """Return S by the usual recipe: mean of squared norms, arithmetic mean of the sizes."""
    small = np.mean([s @ s / n**2 for s, n in zip(sums, sizes, strict=True)])
    difference = 1 / np.mean(sizes) - 1 / sum(sizes)
    return (small - squared_mean(sums, sizes)) / difference


def interval(values):
    """Return the bounds of the mean's confidence interval of 99.9 %."""
    half = 3.29 * np.std(values, ddof=1) / np.sqrt(len(values))
    return np.mean(values) - half, np.mean(values) + half


def contains(bounds, truth):
    return bounds[0] < truth < bounds[1]


def test_estimates_are_unbiased_for_ragged_micro_batches_where_the_usual_recipe_is_far_off():
    random = np.random.default_rng(1)
    draws = [draw(random, SIZES) for _ in range(200)]
    estimates = np.array(
        [
            variance_and_squared_gradient(moments_of(sums, SIZES), squared_mean(sums, SIZES))
            for sums in draws
        ]
    )
    variance, signal = interval(estimates[:, 0]), interval(estimates[:, 1])
    assert contains(variance, TRUE_VARIANCE) and contains(signal, TRUE_SIGNAL)
    # The interval is narrow enough to tell K from K - 1, and the update's noise from none.
    assert variance[1] - variance[0] < TRUE_VARIANCE / len(SIZES)
    assert signal[1] - signal[0] < 2 * TRUE_VARIANCE / sum(SIZES)
    assert interval([plain(sums, SIZES) for sums in draws])[0] > 3 * TRUE_VARIANCE


def test_equal_micro_batches_give_the_sample_variance_of_their_means():
    random = np.random.default_rng(2)
    sums = draw(random, [50] * 7)
    variance, signal = variance_and_squared_gradient(
        moments_of(sums, [50] * 7), squared_mean(sums, [50] * 7)
    )
    of_means = np.var(np.stack(sums) / 50, axis=0, ddof=1).sum()
    assert variance == pytest.approx(50 * of_means, rel=1e-12)
    assert signal == pytest.approx(squared_mean(sums, [50] * 7) - of_means / 7, rel=1e-12)


def test_variance_is_zero_where_all_means_are_alike_and_never_negative():
    alike = [n * MEAN for n in SIZES]
    variance, signal = variance_and_squared_gradient(
        moments_of(alike, SIZES), squared_mean(alike, SIZES)
    )
    assert variance == pytest.approx(0, abs=1e-9) and signal == pytest.approx(TRUE_SIGNAL)
    random = np.random.default_rng(3)
    for _ in range(100):
        sizes = random.integers(1, 100, size=3)
        sums = random.standard_cauchy(size=(3, 2))
        moments = moments_of(sums, sizes)
        assert variance_and_squared_gradient(moments, squared_mean(sums, sizes))[0] >= 0


def test_moments_add_up_in_any_order_and_an_unknown_part_makes_the_sum_unknown():
    first, second = GradientMoments(2, 30, 4.0, within=1.0), GradientMoments(1, 9, 0.5, within=2.0)
    assert first + second == second + first == GradientMoments(3, 39, 4.5, within=3.0)
    assert GradientMoments() + first == first + GradientMoments() == first
    assert (first + GradientMoments(1, 9, 0.5)).within is None
    assert (GradientMoments(1, 9, 0.5) + first).within is None


def test_one_micro_batch_is_refused():
    with pytest.raises(ValueError, match="cannot be told from 1 micro-batches"):
        variance_and_squared_gradient(GradientMoments(1, 40, 5.0), 1.0)


def test_noise_scale_is_a_ratio_and_unknown_without_signal():
    assert noise_scale(-1e-9, 2.0) == 0
    assert noise_scale(5.0, 0.0) is None
    assert NoiseScaleEstimate(30.0, 0.5, tokens=100).noise_scale == 60
