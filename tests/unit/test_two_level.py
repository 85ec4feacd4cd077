"""Between and within variances against planted ones, and against an analysis of variance."""

import numpy as np
import pytest

from fairseq_bas.measure.noise_scale import GradientMoments
from fairseq_bas.measure.two_level import (
    between_variance,
    effective_batch_factor,
    estimate,
    within_variance,
)

SIZES = (40, 70, 300, 1000, 3000)
MEAN = np.array([0.2, -0.1, 0.1, 0.0, 0.05])
BETWEEN = np.array([9.0, 1.0, 4.0, 0.5, 2.0])  # variances by dimension
WITHIN = np.array([1.0, 6.0, 2.0, 2.0, 9.0])


def draw(random, sizes, replicas):
    """Return (K, M, D): the gradient of each copy of each micro-batch, summed over its tokens.

    Tokens are Gaussian, so their sums can be drawn at once.
    """
    size = np.array(sizes)[:, None, None]
    shape = (len(sizes), replicas, len(MEAN))
    between = random.normal(size=(len(sizes), 1, len(MEAN))) * np.sqrt(size * BETWEEN)
    return size * MEAN + between + random.normal(size=shape) * np.sqrt(size * WITHIN)


def measure(copies, sizes, passes, sharing=1):
    """Return moments and b as workers with some passes each would: straight from definitions."""
    moments, total = GradientMoments(), 0
    for one, size in zip(copies / copies.shape[1], sizes, strict=True):
        for share in np.split(one, sharing):
            gradients = [part.sum(axis=0) for part in np.split(share, passes)]
            total_of_share = sum(gradients)
            within = None
            if passes > 1:
                gaps = [passes * g - total_of_share for g in gradients]
                within = sum(gap @ gap for gap in gaps) / (passes - 1) / size
            square = total_of_share @ total_of_share / size
            moments += GradientMoments(1, size, square, within)
            total = total + total_of_share
    mean = total / sum(sizes)
    return moments, mean @ mean


def assert_mean_is(values, truth):
    """Check that the confidence interval of 99.9 % holds the truth, and is not just wide."""
    half = 3.29 * np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - truth) < half < 0.15 * truth


@pytest.mark.parametrize(
    "replicas, passes, sharing", [(6, 3, 1), (4, 4, 1), (4, 2, 1), (8, 2, 2), (6, 2, 3)]
)
def test_planted_variances_are_recovered_wherever_copies_run(replicas, passes, sharing):
    random = np.random.default_rng(replicas * 10 + sharing)
    found = []
    for _ in range(200):
        moments, squared = measure(draw(random, SIZES, replicas), SIZES, passes, sharing)
        found.append(estimate(moments, squared, replicas, passes, sharing))
    t_b, t_w = BETWEEN.sum(), WITHIN.sum()
    assert_mean_is([f.within for f in found], t_w)
    assert_mean_is([f.variance for f in found], t_b + t_w / replicas)
    assert_mean_is([f.squared_gradient for f in found], MEAN @ MEAN)
    assert_mean_is([between_variance(f.variance, f.within, replicas) for f in found], t_b)
    assert found[0].tokens == sum(SIZES) and found[0].replicas == replicas


def test_equal_micro_batches_give_the_nested_analysis_of_variance():
    size, num_batches, replicas = 30, 5, 4
    copies = draw(np.random.default_rng(7), [size] * num_batches, replicas)
    means = copies / size
    of_batch, overall = means.mean(axis=1), means.mean(axis=(0, 1))
    mean_square_within = ((means - of_batch[:, None]) ** 2).sum() / num_batches / (replicas - 1)
    mean_square_between = replicas * ((of_batch - overall) ** 2).sum() / (num_batches - 1)
    t_w = size * mean_square_within
    t_b = size * (mean_square_between - mean_square_within) / replicas
    tokens = num_batches * size

    moments, squared = measure(copies, [size] * num_batches, passes=replicas)
    found = estimate(moments, squared, replicas, passes=replicas)
    assert found.within == pytest.approx(t_w, rel=1e-12)
    assert between_variance(found.variance, found.within, replicas) == pytest.approx(t_b, rel=1e-9)
    signal = overall @ overall - t_b / tokens - t_w / tokens / replicas
    assert found.squared_gradient == pytest.approx(signal, rel=1e-9)


def test_what_one_pass_cannot_tell_is_unknown():
    copies = draw(np.random.default_rng(8), SIZES, 4)
    moments, squared = measure(copies, SIZES, passes=1)
    assert within_variance(moments, 4, 1) is None
    found = estimate(moments, squared, replicas=4, passes=1)
    assert found.within is None and found.variance > 0
    # Copies on two workers, one pass each: the share that noise has is in no number.
    assert estimate(*measure(copies, SIZES, 1, sharing=2), 4, passes=1, sharing=2) is None
    # One distinct micro-batch, whether on one worker or shared.
    assert estimate(*measure(copies[:1], SIZES[:1], 2), 4, passes=2) is None
    assert estimate(*measure(copies[:1], SIZES[:1], 2, 2), 4, passes=2, sharing=2) is None
    assert estimate(GradientMoments(), 0.0) is None


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_gradients_that_are_not_finite_tell_nothing(bad):
    assert estimate(GradientMoments(2, 4, bad), 3.0) is None
    assert estimate(GradientMoments(2, 4, 13.0), bad) is None
    assert estimate(GradientMoments(2, 4, 13.0, within=bad), 3.0, 2, 2) is None


def test_passes_that_do_not_divide_the_copies_are_refused():
    with pytest.raises(ValueError, match="4 replicas do not make 3 equal passes"):
        within_variance(GradientMoments(2, 100, 9.0, within=3.0), replicas=4, passes=3)


def test_effective_batch_of_single_copies_has_the_variance_of_the_batch_with_copies():
    random = np.random.default_rng(9)
    for _ in range(50):
        between, within, batch = random.exponential(size=3)
        replicas = int(random.integers(1, 65))
        factor = effective_batch_factor(between, within, replicas)
        assert 1 <= factor <= replicas
        with_copies = (between + within / replicas) / batch
        assert (between + within) / (factor * batch) == pytest.approx(with_copies, rel=1e-12)


def test_negative_estimates_count_as_zero_in_the_effective_batch():
    assert effective_batch_factor(-0.5, 2.0, 4) == 4
    assert effective_batch_factor(2.0, -0.5, 4) == 1
    assert effective_batch_factor(-0.5, -0.5, 4) == 1
