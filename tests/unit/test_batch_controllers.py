"""Controllers that follow the clock: tables worked by hand from the published rules."""

import math

import pytest

from fairseq_bas.batching.amount import BaseBatch
from fairseq_bas.batching.policy import parse_batch_schedule
from fairseq_bas.config import Clock

BASE = BaseBatch(sentences=64, target_tokens=2000)


def bound(text, base=BASE):
    controller = parse_batch_schedule(text)
    controller.bind(base)
    return controller


@pytest.mark.parametrize(
    ("clock", "multiple"),
    [
        (Clock(), 1.0),
        (Clock(updates=900, epochs=4.9), 1.0),
        (Clock(updates=900, epochs=5), 2.0),
        (Clock(updates=19999, epochs=60), 2.0),
        (Clock(updates=20000, epochs=61), 6.0),
        (Clock(updates=20000, target_tokens=90_000_000), 3.0),
    ],
)
def test_piecewise(clock, multiple):
    # 128 sentences and 12,000 target tokens are 2 and 6 base batches.
    controller = bound("1x@0,128s@5e,12kt@20000u,3x@90000kt")
    decision = controller.decide(clock, decay=0.3)
    assert (decision.multiple, decision.lr_factor) == (multiple, 1.0)
    assert controller.bound() == 6.0
    assert controller.state_dict() == {}


@pytest.mark.parametrize(
    ("text", "clocks", "multiples"),
    [
        (
            "linear:from=1x,to=9x,over=10e",
            [Clock(epochs=e) for e in (0, 1, 2.5, 10, 50)],
            [1.0, 1.8, 3.0, 9.0, 9.0],
        ),
        (
            "linear:from=8x,to=1x,over=70u",
            [Clock(updates=u) for u in (0, 10, 70, 71)],
            [8.0, 7.0, 1.0, 1.0],
        ),
        (  # 1, 1 + 8/16, 1 + 8/4, 9
            "power:from=64s,to=576s,over=4000s,exponent=2",
            [Clock(sentences=s) for s in (0, 1000, 2000, 4000)],
            [1.0, 1.5, 3.0, 9.0],
        ),
        (  # sqrt of 0, 1/100, 1/4, 1: growth is early
            "power:from=2kt,to=22kt,over=100kt,exponent=0.5",
            [Clock(target_tokens=t) for t in (0, 1000, 25_000, 100_000)],
            [1.0, 2.0, 6.0, 11.0],
        ),
        (
            "linear:from=1x,to=9x,over=80u,round=power2,max=6x",
            [Clock(updates=u) for u in (9, 10, 29, 30, 69, 70)],
            [1.0, 2.0, 2.0, 4.0, 4.0, 4.0],
        ),
        (
            "linear:from=1x,to=9x,over=80u,min=128s,max=6x",
            [Clock(updates=u) for u in (0, 10, 20, 50, 80)],
            [2.0, 2.0, 3.0, 6.0, 6.0],
        ),
    ],
)
def test_ramps(text, clocks, multiples):
    controller = bound(text)
    decisions = [controller.decide(clock, decay=0.3) for clock in clocks]
    assert [decision.multiple for decision in decisions] == pytest.approx(multiples, rel=1e-12)
    assert {decision.lr_factor for decision in decisions} == {1.0}
    assert max(multiples) <= controller.bound() and controller.state_dict() == {}


def published_adabatch(factor, decay, largest, intervals):
    """Return (batch, lr) by the loop of the paper's code, with its correction ``extra``."""
    batch, lr = 1.0, 1.0
    for _ in range(intervals):
        wanted = batch * factor
        batch = min(wanted, largest)
        lr = lr * decay * (batch / wanted)
    return batch, lr


@pytest.mark.parametrize(
    ("text", "factor", "decay", "largest"),
    [
        ("adabatch:factor=2,every=5e,decay=0.75,max=16x", 2, 0.75, 16),
        ("adabatch:factor=2,every=5e,max=640s", 2, 0.75, 10),
        ("adabatch:factor=5,every=5e,decay=1,max=80x", 5, 1.0, 80),
        ("adabatch:factor=1.5,every=5e,max=1000x", 1.5, 0.5625, 30.5),  # an epoch's size
    ],
)
def test_adabatch_does_what_the_published_loop_does(text, factor, decay, largest):
    controller = bound(text, BaseBatch(64, 2000, updates_per_epoch=30.5 if "1000x" in text else 99))
    for epoch in range(60):
        batch, lr = published_adabatch(factor, decay, largest, epoch // 5)
        for part in (0, 0.9):
            decision = controller.decide(Clock(epochs=epoch + part), decay=0.3)
            assert decision.multiple == pytest.approx(batch, rel=1e-12)
            assert decision.lr_factor == pytest.approx(lr, rel=1e-12)
    assert controller.bound() == largest and controller.state_dict() == {}


def test_adabatch_table_of_the_published_pair():
    controller = bound("adabatch:factor=2,every=20e,max=8x")
    table = [
        (d.multiple, d.lr_factor)
        for d in (controller.decide(Clock(epochs=e), 1.0) for e in (0, 19.9, 20, 40, 60, 80))
    ]
    assert table == [
        (1.0, 1.0),
        (1.0, 1.0),
        (2.0, 0.75),
        (4.0, 0.5625),
        (8.0, 0.421875),
        (8.0, 0.158203125),  # at the maximum the baseline's decay: 0.421875 * 0.375
    ]


@pytest.mark.parametrize("text", ["max=16x", "max=11x", "max=1000x", "max=24x,round=power2"])
def test_adabatch_keeps_the_learning_rate_per_batch_of_the_fixed_batch(text):
    controller = bound(f"adabatch:factor=3,every=50u,decay=1.2,{text}")
    for update in range(0, 1000, 25):
        decision = controller.decide(Clock(updates=update), 1.0)
        baseline = (1.2 / 3) ** (update // 50)
        assert decision.lr_factor / decision.multiple == pytest.approx(baseline, rel=1e-12)


def test_adabatch_never_overflows():
    decision = bound("adabatch:factor=9,every=1u,max=4x").decide(Clock(updates=10**6), 1.0)
    assert decision.multiple == 4.0 and math.isfinite(decision.lr_factor)


def test_a_controller_without_base_batch_says_so():
    with pytest.raises(RuntimeError, match="call bind before it decides"):
        parse_batch_schedule("4x").decide(Clock(), 1.0)
