"""Batch schedules as users write them: what is built."""

import pytest

from fairseq_bas.batching.amount import BaseBatch
from fairseq_bas.batching.policy import SCHEDULES, parse_batch_schedule

BASE = BaseBatch(sentences=64, target_tokens=2000)


@pytest.mark.parametrize(
    ("text", "unit", "bound", "line"),
    [
        ("4x", "x", 4, "piecewise 4x"),
        (" 1x@0, 256s@5e,4kt@20000u ", "x", 4, "piecewise 1x@0,256s@5e,4kt@20000u"),
        ("64s@0,512s@5e", "s", 8, "piecewise 64s@0,512s@5e"),
        ("linear:from=1x,to=8x,over=10e", "x", 8, "linear from 1x to 8x over 10e"),
        (
            "power: from=2kt, to=8kt, over=500kt, exponent=.5, round=power2",
            "kt",
            4,
            "power from 2kt to 8kt over 500kt, time to the power 0.5, in powers of 2",
        ),
        ("linear:from=16x,to=1x,over=9u", "x", 16, "linear from 16x to 1x over 9u"),
        (
            "adabatch:factor=2,every=5e,max=16x",
            "x",
            16,
            "adabatch: every 5e batch times 2 and lr times 0.75, at least 1x, at most 16x, then "
            "lr times 0.375",
        ),
        (
            "seesaw:max=12x,round=power2",
            "x",
            8,
            "seesaw: batch times 1/d for lr times d, lr times the square root of d, at least 1x, "
            "at most 12x, in powers of 2",
        ),
        (
            "follow-lr:max=256s",
            "s",
            4,
            "follow-lr: batch times 1/d for lr times d, lr as scheduled, at least 1x, at most 256s",
        ),
        (
            "noise-scale",
            "x",
            32,
            "noise-scale: 1 times the measured critical batch, at least 1x, at most 32x, a "
            "decision every 50 updates, by 20% or more, by a factor of at most 2",
        ),
        (
            "noise-scale:fraction=0.5,every=9u,min=2kt,max=64kt,monotone",
            "kt",
            32,
            "noise-scale: 0.5 times the measured critical batch, at least 2kt, at most 64kt, a "
            "decision every 9 updates, by 20% or more, by a factor of at most 2, growing only",
        ),
        (
            "cabs:floor=1.5",
            "x",
            32,
            "cabs: lr times variance over the loss above 1.5 nats per token, at least 1x, at most "
            "32x",
        ),
        (
            "absa:max=16x,every=500u,adversarial=0",
            "x",
            16,
            "absa: batch and lr times 2 where the top Hessian eigenvalue of 128 sentences, every "
            "500u, is down to 1/2 or has led to nothing 10 times, at least 1x, at most 16x; "
            "adversarial share 0, divided by 2 each time, none after 50% of training",
        ),
        (
            "norm-test:theta=0.5,extend",
            "x",
            32,
            "norm-test: noise at most 0.5 times the gradient, extending an update that fails, at "
            "least 1x, at most 32x, by a factor of at most 2",
        ),
    ],
)
def test_parses(text, unit, bound, line):
    controller = parse_batch_schedule(text)
    controller.bind(BASE)
    assert (controller.unit, controller.bound()) == (unit, bound)
    assert controller.describe() == line


@pytest.mark.parametrize(
    ("name", "couples_lr", "follows_decay", "needs"),
    [
        ("linear", False, False, set()),
        ("power", False, False, set()),
        ("adabatch", True, False, set()),
        ("absa", True, False, {"curvature"}),
        ("smith", True, True, set()),
        ("seesaw", True, True, set()),
        ("follow-lr", False, True, set()),
        ("noise-scale", False, False, {"noise_scale"}),
        ("cabs", False, False, {"noise_scale", "loss"}),
        ("norm-test", False, False, {"noise_scale"}),
    ],
)
def test_every_example_parses_and_says_what_it_needs(name, couples_lr, follows_decay, needs):
    controller = parse_batch_schedule(SCHEDULES[name].example)
    assert controller.name == name
    assert (controller.couples_lr, controller.follows_decay) == (couples_lr, follows_decay)
    assert controller.needs == needs
    assert controller.extends_update == (name == "norm-test")


def test_the_table_above_knows_all_schedules():
    assert len(SCHEDULES) == 10
