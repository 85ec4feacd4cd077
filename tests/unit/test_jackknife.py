"""Error bars by leaving out groups, against closed forms and against how often they hold."""

import math

import numpy as np
import pytest

from fairseq_bas.measure.jackknife import (
    Interval,
    jackknife_covariance,
    plain_interval,
    ratio_interval,
    t_quantile,
)


def leave_out_means(data, groups):
    return np.array([data[groups != g].mean(axis=0) for g in np.unique(groups)])


def test_of_a_mean_it_is_the_covariance_of_the_mean():
    data = np.random.default_rng(1).normal(size=(12, 3)) @ np.array(
        [[1.0, 0.5, 0], [0, 2, 0], [0, 0, 1]]
    )
    each = np.arange(12)
    found = jackknife_covariance(
        data.mean(axis=0), leave_out_means(data, each), np.full(12, 1 / 12)
    )
    np.testing.assert_allclose(found, np.cov(data.T) / 12, rtol=1e-12)


def test_unequal_groups_give_the_variance_on_average():
    """Groups of 2 to 9 of 44 numbers of variance 4: the mean has the variance 4 / 44."""
    random = np.random.default_rng(2)
    sizes = np.arange(2, 10)
    groups = np.repeat(np.arange(8), sizes)
    found = []
    for _ in range(400):
        data = random.normal(scale=2.0, size=(sizes.sum(), 1))
        leave_out = leave_out_means(data, groups)
        found.append(jackknife_covariance(data.mean(axis=0), leave_out, sizes / sizes.sum()).item())
    assert np.mean(found) == pytest.approx(4 / sizes.sum(), abs=4 * np.std(found) / math.sqrt(400))
    assert np.std(found) < 0.06
    with pytest.raises(ValueError, match="1 group of gradients shows no error bar"):
        jackknife_covariance(np.zeros(1), np.zeros((1, 1)), np.ones(1))


@pytest.mark.parametrize("denominator, unbounded", [(8.0, False), (1.0, True)])
def test_ratios_are_covered_also_where_the_denominator_is_barely_known(denominator, unbounded):
    random = np.random.default_rng(3)
    covariance = np.array([[1.0, 0.3], [0.3, 0.5]])
    draws = random.multivariate_normal([4.0, denominator], covariance, size=2000)
    intervals = [ratio_interval(a, b, covariance, 1.96) for a, b in draws]
    truth = 4.0 / denominator
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.94 < covered < 0.97
    assert any(math.isinf(interval.high) for interval in intervals) == unbounded
    assert all(
        interval.low <= interval.value <= interval.high
        for interval in intervals
        if interval.value is not None and interval.value > 0
    )


def test_ratios_without_meaning_are_not_known():
    none = ratio_interval(3.0, -0.5, np.diag([0.1, 0.1]), 2.0)
    assert none.value is None and none.high == math.inf
    assert ratio_interval(0.0, 0.1, np.diag([0.1, 0.1]), 2.0) == Interval(0.0, 0.0, math.inf)


def test_intervals_of_groups():
    # Student's t with 7 degrees of freedom, from any table.
    assert t_quantile(8, 0.95) == pytest.approx(2.3646, abs=1e-4)
    assert plain_interval(1.0, -1e-20, 2.0) == Interval(1.0, 1.0, 1.0), "rounding is no error"
    assert Interval(None, -1.0, math.inf).clipped(0.0, 1.0) == Interval(None, 0.0, 1.0)
