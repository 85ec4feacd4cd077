"""Controllers that follow measurements: published rules by hand, hysteresis and exact resume."""

import json
import math
import random

import pytest

from fairseq_bas.batching.amount import BaseBatch
from fairseq_bas.batching.controller import Measured
from fairseq_bas.batching.policy import parse_batch_schedule
from fairseq_bas.config import Clock

BASE = BaseBatch(sentences=64, target_tokens=2000)


def bound(text):
    controller = parse_batch_schedule(text)
    controller.bind(BASE)
    return controller


def batch(controller):
    decision = controller.decide(Clock(updates=3), decay=0.5)
    assert decision.lr_factor == 1.0
    return decision.multiple


def feed(controller, *pairs, start=1, lr=0.1, loss=None):
    """Let updates from ``start`` on measure these (S, |G|^2); return the batches decided."""
    batches = []
    for update, (variance, squared) in enumerate(pairs, start):
        controller.observe(Measured(update, lr, loss, variance, squared))
        batches.append(batch(controller))
    return batches


def tokens(multiple, fraction=1.0):
    """Return S and |G|^2 for which a fraction of the critical batch is a multiple of the base."""
    return 2000.0 * multiple / fraction * 0.01, 0.01


PLAIN = "every=1,change=0,limit=1000,smoothing=0"


@pytest.mark.parametrize(
    ("text", "wanted", "batches"),
    [
        (PLAIN, [3, 5, 40, 0.1, 2], [3, 5, 32, 1, 2]),
        ("every=1,change=0,smoothing=0,limit=2", [8, 8, 8, 1, 1], [2, 4, 8, 4, 2]),
        # Changes below a fifth are left out, measured from the batch that is in force.
        ("every=1,change=0.2,smoothing=0", [1.19, 1.2, 1.4, 1.45, 1.25, 1.2], None),
        (f"{PLAIN},monotone", [3, 2, 5, 1, 6], [3, 3, 5, 5, 6]),
        (f"{PLAIN},round=power2", [3, 3.9, 4, 9], [2, 2, 4, 8]),
        (f"{PLAIN},min=4kt,max=8kt", [1, 3, 9], [2, 3, 4]),
        (f"{PLAIN},every=3", [2, 3, 4, 5, 6, 7], [1, 1, 4, 4, 4, 7]),
    ],
)
def test_noise_scale_decisions(text, wanted, batches):
    options = text.replace("every=1,", "") if "every=3" in text else text
    controller = bound(f"noise-scale:fraction=0.5,{options}")
    given = feed(controller, *(tokens(multiple, 0.5) for multiple in wanted))
    assert given == pytest.approx(batches or [1, 1.2, 1.2, 1.45, 1.45, 1.2], rel=1e-12)


def test_noise_scale_is_a_ratio_of_averages_not_an_average_of_ratios():
    controller = bound("noise-scale:every=1,change=0,limit=1000,smoothing=0.9")
    pairs = [(100.0, 0.02), (20.0, 0.001), (60.0, -0.004), (90.0, 0.03)]
    last = feed(controller, *pairs)[-1]
    weights = [0.9**age for age in (3, 2, 1, 0)]
    variance = sum(w * pair[0] for w, pair in zip(weights, pairs, strict=True))
    squared = sum(w * pair[1] for w, pair in zip(weights, pairs, strict=True))
    assert last == pytest.approx(variance / squared / 2000, rel=1e-12)


def test_noise_scale_holds_the_batch_while_it_cannot_tell():
    controller = bound(f"noise-scale:{PLAIN}")
    unclear = [(50.0, 0.0), (50.0, -0.01), (-1.0, 0.01), (math.nan, 0.01), (50.0, math.inf)]
    assert feed(controller, tokens(3), *unclear) == pytest.approx([3.0] * 6)
    controller.observe(Measured(9, 0.1, loss=2.0))
    assert batch(controller) == pytest.approx(3.0)
    # What was not finite has left no trace.
    assert feed(controller, tokens(2), start=10) == pytest.approx([2.0])


def test_a_decision_waits_for_the_next_measurement_when_none_was_made_in_time():
    controller = bound("noise-scale:every=50,change=0,limit=1000,smoothing=0")
    seen = {}
    for update in range(7, 150, 7):
        controller.observe(Measured(update, 0.1, None, *tokens(update)))
        seen[update] = batch(controller)
    changed = [
        u for u, previous in zip(list(seen)[1:], seen.values(), strict=False) if seen[u] != previous
    ]
    assert changed == [56]  # at 112 the maximum of 32x is in force already
    assert seen[49] == 1.0 and seen[56] == 32.0


@pytest.mark.parametrize(
    ("text", "losses", "lrs", "variances", "batches"),
    [
        # lr * S / (loss - floor) / 2000 tokens: 0.5 * 32000 / 2 = 8000 tokens are 4 base batches.
        ("floor=1,smoothing=0", [3, 2, 9], [0.5, 0.5, 0.25], [32e3] * 3, [4, 8, 1]),
        ("smoothing=0", [2, 2, 2], [0.5, 0.05, 5], [32e3] * 3, [4, 1, 32]),
        ("floor=3,smoothing=0", [4, 3, 2], [0.5] * 3, [32e3] * 3, [8, 32, 32]),
        # A learning rate of 0 asks for the smallest batch, also where the loss meets the floor.
        ("floor=3,smoothing=0", [4, 3], [0.5, 0.0], [32e3] * 2, [8, 1]),
        # EMA of both with 0.95: (0.95 * 32 + 64) / (0.95 * 2 + 4) = 16, times 0.5 * 1000 / 2000.
        ("", [2, 4], [0.5, 0.5], [32e3, 64e3], [4, 0.5 * (0.95 * 32 + 64) / (0.95 * 2 + 4) / 2]),
    ],
)
def test_cabs(text, losses, lrs, variances, batches):
    controller = bound(f"cabs:{text}")
    given = []
    for update, (loss, lr, variance) in enumerate(zip(losses, lrs, variances, strict=True), 1):
        controller.observe(Measured(update, lr, loss, variance))
        given.append(batch(controller))
    assert given == pytest.approx(batches, rel=1e-12)


def test_cabs_waits_for_both_loss_and_variance():
    controller = bound("cabs")
    controller.observe(Measured(1, 1.0, 2.0, None))
    controller.observe(Measured(2, 1.0, None, 1e9))
    assert batch(controller) == 1.0


def test_the_norm_test_grows_to_the_smallest_batch_that_passes_and_never_shrinks():
    controller = bound("norm-test:theta=0.5,limit=1000")
    # S / (theta^2 |G|^2) = 150.11 / (0.25 * 0.1) = 6004.4, so 6005 target tokens.
    assert feed(controller, (150.11, 0.1)) == pytest.approx([6005 / 2000], rel=1e-12)
    assert controller.passes(150.11, 0.1, 6005) and not controller.passes(150.11, 0.1, 6004)
    assert feed(controller, (1.0, 0.1), (-5.0, 0.1), start=2) == pytest.approx([3.0025] * 2)
    assert feed(controller, (150.21, 0.1), start=4) == pytest.approx([6009 / 2000], rel=1e-12)


def test_the_norm_test_grows_step_by_step_where_no_gradient_is_seen():
    controller = bound("norm-test:max=12x")
    assert feed(controller, *[(5.0, -0.1)] * 5) == [2, 4, 8, 12, 12]
    assert not controller.passes(5.0, -0.1, tokens=10**9)


def test_a_batch_that_the_norm_test_decides_passes_it():
    draw = random.Random(3)
    for _ in range(200):
        theta, variance, squared = (draw.uniform(low, 1.0) for low in (0.2, 0.0, 1e-4))
        controller = bound(f"norm-test:theta={theta},limit=1e9,max=1000000000x")
        controller.observe(Measured(1, 0.1, None, variance * 1e4, squared))
        decided = batch(controller)
        assert controller.passes(variance * 1e4, squared, decided * 2000 * (1 + 1e-12))
        assert decided == 1.0 or not controller.passes(variance * 1e4, squared, decided * 2000 - 1)


@pytest.mark.parametrize(
    "text",
    [
        "noise-scale:every=7,smoothing=0.8",
        "noise-scale:every=5,change=0.1,monotone,round=power2",
        "cabs:floor=0.5",
        "norm-test:smoothing=0.5",
    ],
)
def test_resume_is_exact(text):
    draw = random.Random(1)
    told = [
        Measured(u, draw.random(), 1 + draw.random(), 900 * draw.random() * u, draw.random())
        for u in range(1, 60)
    ]
    whole, first, second = bound(text), bound(text), bound(text)
    batches = []
    for measured in told:
        whole.observe(measured)
        batches.append(batch(whole))
    for measured in told[:31]:
        first.observe(measured)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    resumed = [batch(second)]
    for measured in told[31:]:
        second.observe(measured)
        resumed.append(batch(second))
    assert len(set(batches[:31])) > 1 < len(set(resumed))
    assert resumed == batches[30:]
    assert second.state_dict() == whole.state_dict()


def test_a_new_maximum_holds_for_an_old_state():
    old = bound(f"noise-scale:{PLAIN}")
    feed(old, tokens(16))
    new = bound("noise-scale:max=8x")
    new.load_state_dict(old.state_dict())
    assert batch(new) == 8.0


def test_the_state_of_something_else_is_refused_in_one_sentence():
    with pytest.raises(ValueError) as refusal:
        bound("cabs").load_state_dict({"numerator": 1.0})
    assert "holds no denominator of the batch schedule cabs" in str(refusal.value)
