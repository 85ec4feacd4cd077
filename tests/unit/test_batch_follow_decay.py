"""Controllers that turn a decay of the learning rate into growth: tables and identities."""

import math

import pytest

from fairseq_bas.batching.amount import BaseBatch
from fairseq_bas.batching.policy import parse_batch_schedule
from fairseq_bas.config import Clock

BASE = BaseBatch(sentences=64, target_tokens=2000)
DECAYS = [math.cos(math.pi * step / 400) for step in range(200)]


def bound(text, base=BASE):
    controller = parse_batch_schedule(text)
    controller.bind(base)
    return controller


def run(controller, decay):
    """Return the batch and the learning rate as a share of the peak."""
    decision = controller.decide(Clock(updates=7), decay)
    return decision.multiple, decision.lr_factor * decay


@pytest.mark.parametrize(
    ("text", "table"),
    [
        (  # Step decay by 5, published with growth by 5: lr kept until the maximum, then decayed.
            "smith:max=25x",
            {1.0: (1, 1), 0.2: (5, 1), 0.04: (25, 1), 0.008: (25, 0.2), 0.0016: (25, 0.04)},
        ),
        (
            "smith:max=16x,step=2",
            {
                0.6: (1, 1),
                0.5: (2, 1),
                0.3: (2, 1),
                0.25: (4, 1),
                1 / 16: (16, 1),
                1 / 32: (16, 0.5),
            },
        ),
        (
            "seesaw:max=16x",
            {1.0: (1, 1), 0.25: (4, 0.5), 1 / 16: (16, 0.25), 1 / 64: (16, 0.0625)},
        ),
        (  # Cuts where the decay halves; between two of them batch and lr are kept.
            "seesaw:max=16x,step=2",
            {0.51: (1, 1), 0.5: (2, 0.5**0.5), 0.26: (2, 0.5**0.5), 0.25: (4, 0.5), 0.13: (4, 0.5)},
        ),
        ("seesaw:max=12x,round=power2", {0.125: (8, 8**-0.5), 0.1: (8, 0.1 * 8**0.5)}),
        ("follow-lr:max=640s", {1.0: (1, 1), 0.25: (4, 0.25), 0.1: (10, 0.1), 0.05: (10, 0.05)}),
        ("follow-lr:max=10x,step=2", {0.3: (2, 0.3), 0.05: (8, 0.05)}),
    ],
)
def test_tables(text, table):
    controller = bound(text)
    for decay, row in table.items():
        assert run(controller, decay) == pytest.approx(row, rel=1e-12), decay
    assert controller.state_dict() == {}


@pytest.mark.parametrize("largest", ["16x", "3.7x", "640s", "100000x"])
@pytest.mark.parametrize(("name", "power"), [("smith", 1.0), ("seesaw", 0.5)])
def test_learning_rate_for_the_batch_is_that_of_the_plain_run_at_every_clock(name, power, largest):
    # Smith: lr / B, per sentence. Seesaw: lr / sqrt(B).
    controller = bound(f"{name}:max={largest}")
    for decay in [*DECAYS, *reversed(DECAYS)]:
        multiple, lr = run(controller, decay)
        assert multiple == pytest.approx(min(1 / decay, controller.bound()), rel=1e-12)
        assert lr / multiple**power == pytest.approx(decay, rel=1e-12)


@pytest.mark.parametrize(("name", "power"), [("smith", 1.0), ("seesaw", 0.5)])
def test_with_a_step_the_learning_rate_is_kept_and_the_identity_holds_at_the_cuts(name, power):
    controller = bound(f"{name}:max=1000x,step=3")
    for stage in range(6):
        cut = (1 / 3) ** stage
        for decay in (cut, cut * 0.7, cut * 0.34):
            multiple, lr = run(controller, decay)
            assert multiple == pytest.approx(3**stage, rel=1e-12)
            assert lr == pytest.approx(run(controller, cut)[1], rel=1e-12)
        assert lr / multiple**power == pytest.approx(cut, rel=1e-12)


def test_the_learning_rate_does_not_jump_where_the_batch_meets_its_maximum():
    for name in ("smith", "seesaw", "follow-lr"):
        controller = bound(f"{name}:max=16x")
        before, after = run(controller, 1 / 15.999), run(controller, 1 / 16.001)
        assert before == pytest.approx(after, rel=1e-3)


def test_a_decay_to_zero_is_no_trouble():
    for name in ("smith", "seesaw", "follow-lr"):
        assert run(bound(f"{name}:max=16x"), 0.0) == (16.0, 0.0)


def test_an_epoch_is_a_maximum_too():
    controller = bound("smith:max=16x", BaseBatch(64, 2000, updates_per_epoch=5))
    assert run(controller, 0.1) == pytest.approx((5, 0.5), rel=1e-12)


def serial_updates(controller, tokens):
    """Count the updates that consume so many base batches along a quarter of a cosine."""
    consumed, updates = 0.0, 0
    while consumed < tokens:
        decay = math.cos(math.pi / 2 * consumed / tokens)
        consumed += controller.decide(Clock(updates=updates), decay).multiple
        updates += 1
    return updates


def test_seesaw_saves_the_published_share_of_serial_updates():
    # Updates per token are 1/B = u, whose mean along cos(pi tau / 2) is 2/pi: 36.3 % fewer.
    saved = 1 - serial_updates(bound("seesaw:max=1000000x"), 20_000) / 20_000
    assert saved == pytest.approx(1 - 2 / math.pi, abs=1e-3)
    # In steps of 2 it can only be less, as the batch is rounded down.
    assert 0.2 < 1 - serial_updates(bound("seesaw:max=1000000x,step=2"), 20_000) / 20_000 < saved
