"""Averages against sums written out, and the numbers derived from them."""

import json
import random

import pytest

from fairseq_bas.measure.noise_scale import NoiseScaleEstimate
from fairseq_bas.measure.tracker import NoiseScaleTracker


def estimates(count, replicas=1, seed=1):
    draws = random.Random(seed)
    return [
        NoiseScaleEstimate(
            variance=draws.uniform(5, 50),
            squared_gradient=draws.uniform(-0.05, 0.3),
            tokens=1000,
            within=draws.uniform(1, 20) if replicas > 1 else None,
            replicas=replicas,
        )
        for _ in range(count)
    ]


def observed(values, **settings):
    tracker = NoiseScaleTracker(**settings)
    for value in values:
        tracker.observe(value)
    return tracker


def average(values, decay):
    weights = [decay ** (len(values) - 1 - index) for index in range(len(values))]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def test_averages_have_falling_weights_that_sum_to_one():
    values = estimates(30, replicas=4)
    tracker = observed(values, decay=0.9)
    variance = average([v.variance for v in values], 0.9)
    signal = average([v.squared_gradient for v in values], 0.9)
    within = average([v.within for v in values], 0.9)
    assert tracker.variance == pytest.approx(variance, rel=1e-12)
    assert tracker.squared_gradient == pytest.approx(signal, rel=1e-12)
    assert tracker.within == pytest.approx(within, rel=1e-12)
    assert tracker.between == pytest.approx(variance - within / 4, rel=1e-12)
    assert tracker.noise_scale == pytest.approx(variance / signal, rel=1e-12)
    factor = (tracker.between + within) / (tracker.between + within / 8)
    assert tracker.effective_factor(8) == pytest.approx(factor, rel=1e-12)


def test_nothing_is_given_before_enough_measurements():
    values = estimates(3, replicas=2)
    early, late = observed(values[:2], minimum=3), observed(values, minimum=3)
    for name in ("variance", "squared_gradient", "within", "between", "noise_scale"):
        assert getattr(early, name) is None and getattr(late, name) is not None
    assert early.effective_factor(2) is None and late.effective_factor(2) > 1
    assert early.effective_factor(1) == 1


def test_noise_scale_is_unknown_without_signal_and_the_rest_stays_known():
    tracker = observed([NoiseScaleEstimate(20.0, -0.01, 100)], minimum=1)
    assert tracker.noise_scale is None
    assert tracker.variance == pytest.approx(20) and tracker.squared_gradient < 0
    assert tracker.within is None and tracker.between is None
    assert tracker.effective_factor(4) is None


def test_negative_variances_are_clipped_only_in_what_is_reported():
    first = NoiseScaleEstimate(1.0, 0.1, 100, within=12.0, replicas=4)
    second = NoiseScaleEstimate(9.0, 0.1, 100, within=12.0, replicas=4)
    tracker = observed([first], decay=0.5, minimum=1)
    assert tracker.between == 0 and tracker.effective_factor(4) == 4
    tracker.observe(second)
    mean = (1 * 1.0 + 2 * 9.0) / 3
    assert tracker.between == pytest.approx(mean - 3)


def test_a_restored_tracker_goes_on_to_the_same_bits():
    values = estimates(12, replicas=2) + estimates(5, replicas=4, seed=2)
    whole, first = observed(values), observed(values[:9])
    state = json.loads(json.dumps(first.state_dict()))
    second = NoiseScaleTracker()
    second.load_state_dict(state)
    for value in values[9:]:
        second.observe(value)
    assert second.state_dict() == whole.state_dict()
    assert second.noise_scale == whole.noise_scale


def test_variance_is_carried_over_to_another_number_of_copies():
    between, within = 10.0, 8.0
    tracker = NoiseScaleTracker(minimum=1)
    for replicas in (2, 2, 8, 8, 8, 1):
        variance = between + within / replicas
        known = None if replicas == 1 else within
        tracker.observe(NoiseScaleEstimate(variance, 0.1, 100, known, replicas))
        assert tracker.variance == pytest.approx(variance)
        assert tracker.between == pytest.approx(between)


def test_variance_starts_afresh_where_the_share_of_noise_is_not_known():
    tracker = observed([NoiseScaleEstimate(50.0, 0.1, 100)] * 3, minimum=1)
    tracker.observe(NoiseScaleEstimate(12.0, 0.3, 100, replicas=4))
    assert tracker.variance == pytest.approx(12)
    assert 0.1 < tracker.squared_gradient < 0.3


@pytest.mark.parametrize("settings", [{"decay": 1.0}, {"decay": -0.1}, {"minimum": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=str(next(iter(settings.values())))):
        NoiseScaleTracker(**settings)
