"""The verdicts on losses, against averages written out as sums."""

import math
import random

import pytest

from fairseq_bas.resilience.divergence import DivergenceMonitor, Verdict


def weighted(losses, length):
    """Return the normalised exponential average of losses, each with its weight."""
    decay = 1 - 1 / length
    weights = [decay ** (len(losses) - 1 - i) for i in range(len(losses))]
    return math.fsum(w * x for w, x in zip(weights, losses, strict=True)) / math.fsum(weights)


def expected_verdict(losses, threshold):
    """Judge the last of ``losses`` from all of them."""
    if len(losses) == 1:
        return Verdict.CALM
    fast, before = weighted(losses, 10), max(weighted(losses[:-1], 100), 1.0)
    if fast > threshold * before:
        return Verdict.EXPLODING
    limit = before + (threshold - 1) * before / 2
    return Verdict.RESTLESS if max(fast, losses[-1]) > limit else Verdict.CALM


def noisy(seed, count):
    """Return losses that fall, with spikes, and explode in the end."""
    generator = random.Random(seed)
    losses = [2 + 8 * math.exp(-i / 40) + generator.gauss(0, 0.5) for i in range(count)]
    spikes = [x * generator.choice([1, 1, 1, 1, 1.6, 2.5]) for x in losses]
    return spikes + [x * 1.4**i for i, x in enumerate(losses[:12])]


@pytest.mark.parametrize("seed", range(4))
def test_verdicts_are_those_of_the_averages_written_out(seed):
    losses, monitor, seen = noisy(seed, 150), DivergenceMonitor(1.5), set()
    for i, loss in enumerate(losses):
        verdict = monitor.observe(loss)
        assert verdict is expected_verdict(losses[: i + 1], 1.5)
        assert monitor.fast == pytest.approx(weighted(losses[: i + 1], 10), rel=1e-12)
        assert monitor.slow == pytest.approx(weighted(losses[: i + 1], 100), rel=1e-12)
        seen.add(verdict)
    assert seen == {Verdict.CALM, Verdict.RESTLESS, Verdict.EXPLODING}


def test_a_jump_is_seen_within_the_updates_worked_out_by_hand():
    # From 4 to 8: the fast average after k of them is 8 - 4 * 0.9^k, the slow one of those before
    # the last 8 - 4 * 0.99^(k - 1). With k = 10, 6.61 > 1.5 * 4.35; with k = 9, 6.45 < 1.5 * 4.31.
    monitor = DivergenceMonitor()
    assert {monitor.observe(4.0) for _ in range(2000)} == {Verdict.CALM}
    verdicts = [monitor.observe(8.0) for _ in range(10)]
    assert verdicts == [Verdict.RESTLESS] * 9 + [Verdict.EXPLODING]


def test_an_explosion_in_the_first_updates_is_seen():
    monitor = DivergenceMonitor()
    assert monitor.observe(9.0) is Verdict.CALM
    assert monitor.observe(9.5) is Verdict.CALM
    assert monitor.observe(200.0) is Verdict.EXPLODING


def test_losses_near_zero_may_rise_to_a_multiple_of_themselves():
    monitor = DivergenceMonitor()
    losses = [0.001] * 300 + [0.9] * 100
    assert {monitor.observe(loss) for loss in losses} == {Verdict.CALM}


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_leaves_the_averages_alone(loss):
    monitor = DivergenceMonitor()
    monitor.observe(5.0)
    before = monitor.state_dict()
    assert monitor.observe(loss) is Verdict.NOT_FINITE
    assert monitor.state_dict() == before


def test_a_saved_monitor_goes_on_bit_for_bit():
    losses = noisy(7, 100)
    whole, first, second = DivergenceMonitor(), DivergenceMonitor(), DivergenceMonitor()
    for loss in losses[:50]:
        whole.observe(loss)
        first.observe(loss)
    second.load_state_dict(first.state_dict())
    for loss in losses[50:]:
        assert second.observe(loss) is whole.observe(loss)
    assert second.state_dict() == whole.state_dict()


def test_losses_of_another_kind_are_not_compared():
    monitor = DivergenceMonitor()
    for _ in range(200):
        monitor.observe(2.0)
    monitor.restart()
    assert {monitor.observe(5.0) for _ in range(50)} == {Verdict.CALM}


@pytest.mark.parametrize("threshold", [1.0, 0.5, math.nan])
def test_thresholds_that_healthy_losses_pass_are_refused(threshold):
    with pytest.raises(ValueError, match="--bas-divergence-threshold"):
        DivergenceMonitor(threshold)
