"""The gain against the paper's own formulas, and against squared norms that were drawn."""

import numpy as np
import pytest

from fairseq_bas.measure.adascale import gain, gain_with_copies
from fairseq_bas.measure.noise_scale import GradientMoments, variance_and_squared_gradient


def paper_gain(gradients):
    """Return r of S workers' mean gradients (S, D), as the paper writes it."""
    workers = len(gradients)
    squares, mean = (gradients**2).sum(), gradients.mean(axis=0)
    sigma2 = squares / (workers - 1) - workers / (workers - 1) * (mean @ mean)
    mu2 = max(mean @ mean - sigma2 / workers, 0)
    return (sigma2 + mu2) / (sigma2 / workers + mu2)


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("workers", [2, 3, 16])
def test_equal_workers_of_the_reference_batch_have_the_gain_of_the_paper(workers, scale):
    reference = 50
    random = np.random.default_rng(workers)
    gradients = scale * np.ones(12) + random.normal(size=(workers, 12))
    sums, mean = reference * gradients, gradients.mean(axis=0)
    tokens = reference * workers
    moments = GradientMoments(workers, tokens, (sums**2).sum() / reference)
    variance, signal = variance_and_squared_gradient(moments, mean @ mean)
    ours = gain(variance, signal, reference, tokens)
    assert ours == pytest.approx(paper_gain(gradients), rel=1e-9)
    assert 1 <= ours <= workers * (1 + 1e-12)


def test_gain_is_the_ratio_of_expected_squared_norms():
    """The paper's definition: E ||g of the reference||^2 / E ||g of the batch||^2."""
    random = np.random.default_rng(5)
    between, within, dims, draws = 4.0, 6.0, 10, 40_000
    mean = np.full(dims, 0.2)

    def squared_norms(tokens, replicas):
        variance = (between + within / replicas) / tokens / dims
        return (random.normal(mean, np.sqrt(variance), size=(draws, dims)) ** 2).sum(axis=1)

    ratio = squared_norms(20, 1).mean() / squared_norms(60, 3).mean()
    ours = gain_with_copies(between, within, mean @ mean, 20, 60, replicas=3)
    assert ours == pytest.approx(ratio, rel=0.01)


def test_copies_count_by_the_variance_they_take_away():
    alike = gain_with_copies(8.0, 0.0, 0.01, 100, 400, replicas=4)
    assert alike == gain(8.0, 0.01, 100, 400)
    differ = gain_with_copies(0.0, 8.0, 0.01, 100, 400, replicas=4)
    assert differ == pytest.approx(gain(8.0, 0.01, 100, 1600))
    # Taken for independent sentences of a batch, copies alike would seem to have little noise.
    assert alike < gain_with_copies(4.0, 4.0, 0.01, 100, 400, replicas=4) < differ


def test_gain_stays_between_one_and_the_growth_of_the_batch():
    random = np.random.default_rng(6)
    for _ in range(100):
        variance, signal = random.normal(size=2) * 10.0 ** random.integers(-6, 6, size=2)
        kappa = random.uniform(1, 100)
        assert 1 <= gain(variance, signal, 10.0, 10.0 * kappa) <= kappa * (1 + 1e-12)
        assert kappa ** (-1) * (1 - 1e-12) <= gain(variance, signal, 10.0 * kappa, 10.0) <= 1
    assert gain(-1.0, -1.0, 10, 80) == 1
    assert gain(5.0, -1.0, 10, 80) == 8


@pytest.mark.parametrize("batches", [(0, 10), (10, 0), (-1, 10)])
def test_batches_that_are_not_positive_are_refused(batches):
    with pytest.raises(ValueError, match="both must be positive"):
        gain(1.0, 1.0, *batches)
