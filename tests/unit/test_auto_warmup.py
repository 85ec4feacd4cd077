"""The state machine of automatic warm-up: planted runs, values by hand, exact resumption."""

import json
import math

import numpy as np
import pytest

from fairseq_bas.schedule.auto_warmup import CAPACITY, AutoWarmup, Verdict
from fairseq_bas.schedule.auto_warmup_settings import WarmupSettings


def planted(optimum, seed, noise=0.1):
    """Return a run's loss: it falls over time and rises where the learning rate is too large."""
    generator = np.random.default_rng(seed)

    def loss(update, lr, share):
        falling = 4 + 5 * math.exp(-10 * share) - share
        rising = 0.8 * max(0.0, math.log(lr / optimum)) ** 1.5
        return falling + rising + noise * generator.standard_normal()

    return loss


def drive(warmup, loss, first=1, last=None, record=None):
    """Feed losses of the updates first..last; return the learning rate of each update."""
    rates = []
    for update in range(first, (last or warmup.settings.total) + 1):
        rates.append(warmup.lr(update - 1))
        due = warmup.observe(update, loss(update, rates[-1], update / warmup.settings.total))
        ended = due is not None and warmup.accept(due, warmup.judge(due))
        if record is not None and due is not None:
            record.append((update, due, ended))
    return rates


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("optimum", [3e-4, 2e-3])
def test_finds_a_planted_learning_rate(optimum, seed):
    warmup = AutoWarmup(WarmupSettings(1000, 1e-5, 1e-1, every=25, seed=seed))
    tests = []
    drive(warmup, planted(optimum, seed), record=tests)
    assert optimum / 2 < warmup.peak < optimum * 2
    assert tests[-1] == (warmup.switched_at, "test", True)
    crossed = math.log(optimum / 1e-5) / math.log(1e4) * 500
    assert crossed < warmup.switched_at < crossed + 150


@pytest.mark.parametrize("seed", range(4))
def test_a_falling_loss_warms_up_to_the_limit(seed):
    warmup = AutoWarmup(WarmupSettings(1000, 1e-5, 1e-2, max_warmup=0.4, seed=seed))
    tests = []
    drive(warmup, planted(1.0, seed), record=tests)
    assert [update for update, _, _ in tests] == [50, 100, 150, 200, 250, 300, 350, 400]
    assert tests[-1] == (400, "limit", True)
    assert 5e-3 < warmup.peak <= 1e-2


@pytest.mark.parametrize("bad", [math.nan, math.inf, 12.1])
def test_a_broken_loss_ends_the_warmup_at_once(bad):
    settings = WarmupSettings(1000, 1e-5, 1e-1)
    warmup = AutoWarmup(settings)
    first = [5.0, 6.0, *[4.0] * 8]  # the largest of ten is 6, so that 12 is an explosion
    drive(warmup, lambda update, *_: [*first, 12.0 - 8 * (update > 11)][min(update, 11) - 1], 1, 40)
    assert warmup.warming_up
    assert warmup.observe(41, bad) == "broken"
    assert warmup.accept("broken", warmup.judge("broken"))
    assert warmup.switched_at == 41
    assert warmup.peak <= settings.ramp(40) / 2
    assert math.isfinite(warmup.lr(41))
    assert warmup.observe(42, math.nan) is None


def test_a_loss_broken_after_its_minimum_takes_the_learning_rate_of_the_minimum():
    warmup = AutoWarmup(WarmupSettings(1000, 1e-5, 1e-1, choice="lowest"))
    drive(warmup, lambda update, *_: 5 + abs(update - 60) / 60, 1, 149)
    warmup.accept(warmup.observe(150, math.nan), warmup.judge("broken"))
    assert warmup.peak == pytest.approx(warmup.settings.ramp(59), rel=0.1)


def test_tests_must_agree_in_a_row():
    warmup = AutoWarmup(WarmupSettings(10_000, 1e-5, 1e-2, patience=3))
    outcomes = [True, True, False, True, True, True]
    ended = [warmup.accept("test", Verdict(passed, 1e-3)) for passed in outcomes]
    assert ended == [False] * 5 + [True]


def after(decay, switched_at, peak=0.01, total=1000):
    warmup = AutoWarmup(WarmupSettings(total, 1e-4, 1e-1, decay=decay))
    warmup.observe(switched_at, 5.0)
    warmup.accept("limit", Verdict(True, peak))
    return warmup


def test_learning_rates_of_the_ramp_by_hand():
    warmup = AutoWarmup(WarmupSettings(1000, 1e-4, 1e-1, max_warmup=0.3))
    # Three decades in 300 updates.
    expected = {0: 1e-4, 100: 1e-3, 150: 1e-3 * math.sqrt(10), 200: 1e-2, 300: 1e-1, 400: 1e-1}
    assert {n: warmup.lr(n) for n in expected} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "decay, switched_at, expected",
    [
        ("cosine", 400, {400: 0.01, 600: 0.0075, 700: 0.005, 800: 0.0025, 1000: 0, 1200: 0}),
        ("constant", 400, {400: 0.01, 999: 0.01, 1200: 0.01}),
        ("constant-cosine", 400, {400: 0.01, 800: 0.01, 900: 0.005, 1000: 0}),
        ("constant-cosine", 900, {900: 0.01, 950: 0.005, 1000: 0}),
        ("cosine", 1000, {1000: 0.01}),
    ],
)
def test_learning_rates_of_the_decays_by_hand(decay, switched_at, expected):
    warmup = after(decay, switched_at)
    assert {n: warmup.lr(n) for n in expected} == pytest.approx(expected, rel=1e-12, abs=1e-15)


RESUMED = WarmupSettings(600, 1e-5, 1e-1, every=30, seed=3)


def resumed_loss(update, lr, share):
    noise = 0.1 * math.sin(12.9898 * update)
    return 4 + 5 * math.exp(-10 * share) + max(0.0, math.log(lr / 1e-3)) + noise


@pytest.fixture(scope="module")
def uninterrupted():
    warmup = AutoWarmup(RESUMED)
    rates = drive(warmup, resumed_loss)
    return warmup, rates


@pytest.mark.parametrize("stop", [7, 89, 90, 190, 220, 400])
def test_resume_is_exact_in_every_phase(uninterrupted, stop):
    whole, rates = uninterrupted
    begun, resumed = AutoWarmup(RESUMED), AutoWarmup(RESUMED)
    drive(begun, resumed_loss, last=stop)
    saved = begun.state_dict()
    text = json.dumps(saved)
    drive(begun, resumed_loss, first=stop + 1, last=stop + 20)
    assert json.dumps(saved) == text  # whatever goes on
    resumed.load_state_dict(json.loads(text))
    assert drive(resumed, resumed_loss, first=stop + 1) == rates[stop:]
    assert resumed.state_dict() == whole.state_dict()


def test_the_stops_of_the_resumed_runs_are_in_every_phase(uninterrupted):
    whole, _ = uninterrupted
    begun = AutoWarmup(RESUMED)
    drive(begun, resumed_loss, last=220)
    assert begun.successes > 0
    assert 220 < whole.switched_at < 300


def test_an_update_observed_twice_counts_once():
    warmup = AutoWarmup(WarmupSettings(1000, 1e-5, 1e-2))
    for update in (1, 2, 2, 1, 3):
        assert warmup.observe(update, float(update)) is None
    assert warmup.losses == [1.0, 2.0, 3.0]


def test_losses_kept_are_bounded_and_evenly_spaced():
    warmup = AutoWarmup(WarmupSettings(10**6, 1e-5, 1e-2))
    most = 0
    for update in range(1, 5 * CAPACITY):
        warmup.observe(update, 5.0 + 1.0 / update)
        most = max(most, len(warmup.losses))
    assert most <= CAPACITY
    assert len(warmup.losses) > CAPACITY / 2
    assert warmup.updates == [8 * (i + 1) for i in range(len(warmup.losses))]
    assert warmup.losses == [5.0 + 1.0 / update for update in warmup.updates]
    warmup.accept("limit", Verdict(True, 1e-3))
    assert warmup.state_dict()["losses"] == []


def test_another_ramp_is_refused_until_the_warmup_has_ended():
    longer = AutoWarmup(WarmupSettings(2000, 1e-4, 1e-1))
    begun = AutoWarmup(WarmupSettings(1000, 1e-4, 1e-1))
    begun.observe(1, 5.0)
    with pytest.raises(ValueError, match=r"0\.1 in 500 updates.*0\.1 in 1000.*--reset-lr-sch"):
        longer.load_state_dict(begun.state_dict())
    longer.load_state_dict(after("cosine", 400).state_dict())
    assert longer.lr(1200) == pytest.approx(0.005)  # half way from 400 to 2000


@pytest.mark.parametrize(
    "change, words",
    [
        ({"total": 0}, "--max-update"),
        ({"min_lr": 0.0}, "--bas-autowu-min-lr 0 to --lr 0.01"),
        ({"min_lr": 0.1}, "cannot grow"),
        ({"max_lr": math.inf}, "cannot grow"),
        ({"max_warmup": 0.0}, "--bas-autowu-max-warmup 0"),
        ({"max_warmup": 1.5}, "--bas-autowu-max-warmup 1.5"),
        ({"every": -1}, "--bas-autowu-every -1"),
        ({"patience": 0}, "--bas-autowu-patience 0"),
    ],
)
def test_bad_settings_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        WarmupSettings(**{"total": 1000, "min_lr": 1e-5, "max_lr": 1e-2, **change})


@pytest.mark.parametrize("seed", range(2))
def test_takes_the_rate_of_the_second_fast_fall_or_of_the_lowest_loss(seed):
    """A loss that never rises: fast falls at 15 % and 60 % of the ramp from 1e-5 to 1e-1."""

    def loss(update, lr, _share):
        place = math.log(lr / 1e-5) / math.log(1e4)
        falls = 2 * math.erf((place - 0.15) / 0.1) + 1.5 * math.erf((place - 0.6) / 0.15)
        return 8 - place - falls + 0.02 * np.random.default_rng([seed, update]).standard_normal()

    peaks = []
    for choice in ("fastest", "lowest"):
        settings = WarmupSettings(1000, 1e-5, 1e-1, patience=20, choice=choice, seed=seed)
        warmup = AutoWarmup(settings)
        drive(warmup, loss)
        peaks.append(warmup.peak)
    assert peaks[0] == pytest.approx(1e-5 * 1e4**0.6, rel=0.4)
    assert peaks[1] > 3e-2
