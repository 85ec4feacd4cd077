"""Batch schedules as users write them: every refusal in one exact sentence."""

import pytest

from fairseq_bas.batching.amount import BaseBatch
from fairseq_bas.batching.policy import SCHEDULES, parse_batch_schedule

BASE = BaseBatch(sentences=64, target_tokens=2000)
FLAG = "--bas-batch-schedule"
AMOUNT = "is not a number above 0 with a unit of x (times the plain batch), s (sentences), kt "
AMOUNT += "(thousand target tokens)"
SPAN = "is not a whole number of at least 1 with a unit of u (updates), e (epochs), s (sentences), "
SPAN += "kt (thousand target tokens)"
LARGEST = "give the largest batch, such as 16x, 256s or 8kt"
SHARED = "min, max, round, every, change, limit, smoothing"


@pytest.mark.parametrize(
    ("text", "reason", "example"),
    [
        (
            "linaer:from=1x",
            "there is no batch schedule 'linaer'; use value@clock, linear, power, adabatch, absa, "
            "smith, seesaw, follow-lr, noise-scale, cabs, norm-test",
            "1x@0,2x@5e,4x@20000u",
        ),
        ("0x", f"'0x' {AMOUNT}; write a value or a schedule", "1@0,4@2e"),
        ("-2x", f"'-2x' {AMOUNT}; write a value or a schedule", "1@0,4@2e"),
        ("", f"'' {AMOUNT}; write a value or a schedule", "1@0,4@2e"),
        ("1x@0,2q@5e", f"'2q' {AMOUNT}; write a value or a schedule", "1@0,4@2e"),
        ("2x@5e", "the first step starts at 5e; start it at 0", "1@0,4@2e"),
        (
            "1x@0,4x@9u,8x@9u",
            "the step 8x@9u does not start after the one before it; write the steps in order",
            "1@0,4@2e",
        ),
        (
            "linear:from=1x,to=8x",
            "over is missing; give the time from one to the other, such as 10e, 2000u or 500kt",
            "linear:from=1x,to=8x,over=10e",
        ),
        (
            "linear:from=1x,to=8x,over=10",
            f"over '10' {SPAN}; give the time from one to the other, such as 10e, 2000u or 500kt",
            "linear:from=1x,to=8x,over=10e",
        ),
        (
            "linear:from=nan,to=8x,over=10e",
            f"from 'nan' {AMOUNT}; give the first batch, such as 1x, 64s or 2kt",
            "linear:from=1x,to=8x,over=10e",
        ),
        (
            "linear:from=1x,to=8x,over=10e,exponent=2",
            "there is no key 'exponent' here; use from, to, over, min, max, round",
            "linear:from=1x,to=8x,over=10e",
        ),
        (
            "linear:from=1x,to=8x,over=10e,min=4x,max=2x",
            "max=2x is below the smallest batch of 4x; raise it",
            "linear:from=1x,to=8x,over=10e",
        ),
        (
            "linear:from=1x,to=8x,over=10e,round=4",
            "round '4' is not none or power2; give power2 to round down to powers of 2, or none",
            "linear:from=1x,to=8x,over=10e",
        ),
        (
            "power:from=1x,to=8x,over=10e",
            "exponent is missing; give the exponent of the time, such as 0.5",
            "power:from=1x,to=8x,over=500kt,exponent=0.5",
        ),
        (
            "power:from=1x,to=8x,over=10e,exponent=0",
            "exponent '0' is not a number above 0; give the exponent of the time, such as 0.5",
            "power:from=1x,to=8x,over=500kt,exponent=0.5",
        ),
        (
            "adabatch:factor=1,every=5e,max=4x",
            "factor '1' is not a number above 1; give what the batch is multiplied by, such as 2",
            "adabatch:factor=2,every=5e,decay=0.75,max=16x",
        ),
        (
            "adabatch:factor=nan,every=5e,max=4x",
            "factor 'nan' is not a number above 1; give what the batch is multiplied by, such as 2",
            "adabatch:factor=2,every=5e,decay=0.75,max=16x",
        ),
        (
            "adabatch:factor=2,max=4x",
            "every is missing; give the interval, such as 5e, 2000u or 500kt",
            "adabatch:factor=2,every=5e,decay=0.75,max=16x",
        ),
        (
            "adabatch:factor=2,every=5e,max=4x,decay=-1",
            "decay '-1' is not a number above 0; give what the learning rate is multiplied by, "
            "such as 0.75",
            "adabatch:factor=2,every=5e,decay=0.75,max=16x",
        ),
        (
            "adabatch:factor=2,every=5e,max=4x,decay=2.5",
            "decay=2.5 exceeds factor=2, so the learning rate per batch would grow; lower decay",
            "adabatch:factor=2,every=5e,decay=0.75,max=16x",
        ),
        ("smith", f"max is missing; {LARGEST}", "smith:max=16x"),
        ("smith:max", f"max has no value; {LARGEST}", "smith:max=16x"),
        ("smith:max=0x", f"max '0x' {AMOUNT}; {LARGEST}", "smith:max=16x"),
        ("smith:max=4x,max=8x", "max is there twice; write it once", "smith:max=16x"),
        (
            "smith:max=0.5x",
            "max=0.5x is below the smallest batch of 1x; raise it",
            "smith:max=16x",
        ),
        (
            "seesaw:max=16x,step=0.5",
            "step '0.5' is not a number of at least 1; give the number of which batches are "
            "powers, such as 2, or 1 for no rounding",
            "seesaw:max=16x,step=2",
        ),
        (
            "seesaw:max=16x,step=3,round=power2",
            "round=power2 is step=2 and contradicts step=3; leave one out",
            "seesaw:max=16x,step=2",
        ),
        (
            "follow-lr:min=1x",
            "there is no key 'min' here; use max, step, round",
            "follow-lr:max=16x",
        ),
        (
            "noise-scale:fraction=0",
            "fraction '0' is not a number above 0; give the fraction of the critical batch, such "
            "as 0.5",
            SCHEDULES["noise-scale"].example,
        ),
        (
            "noise-scale:monotone=yes",
            "monotone takes no value; write monotone alone or leave it out",
            SCHEDULES["noise-scale"].example,
        ),
        (
            "noise-scale:every=5e",
            "every '5e' is not a whole number of updates of at least 1; give the updates between "
            "two decisions",
            SCHEDULES["noise-scale"].example,
        ),
        (
            "noise-scale:change=-0.1",
            "change '-0.1' is not a number of at least 0; give the smallest share by which a "
            "decision changes the batch, such as 0.2",
            SCHEDULES["noise-scale"].example,
        ),
        (
            "noise-scale:limit=1",
            "limit '1' is not a number above 1; give the largest factor by which a decision "
            "changes the batch",
            SCHEDULES["noise-scale"].example,
        ),
        (
            "noise-scale:smoothing=1",
            "smoothing '1' is not a number in [0, 1); give the weight of the past in the moving "
            "averages, such as 0.95",
            SCHEDULES["noise-scale"].example,
        ),
        (
            "noise-scale:theta=1",
            f"there is no key 'theta' here; use fraction, {SHARED}, monotone",
            SCHEDULES["noise-scale"].example,
        ),
        (
            "cabs:floor=inf",
            "floor 'inf' is not a number of at least 0; give the loss in nats per token that no "
            "model gets below",
            "cabs:floor=1.5,min=1x,max=32x",
        ),
        (
            "cabs:extend",
            f"there is no key 'extend' here; use floor, {SHARED}, monotone",
            "cabs:floor=1.5,min=1x,max=32x",
        ),
        (
            "norm-test:min=64x",
            "max=32x is below the smallest batch of 64x; raise it",
            "norm-test:theta=1,max=32x,extend",
        ),
        (
            "norm-test:theta=",
            "theta has no value; give the noise allowed as a share of the gradient's norm, such "
            "as 1",
            "norm-test:theta=1,max=32x,extend",
        ),
        (
            "norm-test:,",
            f"there is no key '' here; use theta, {SHARED}, extend",
            "norm-test:theta=1,max=32x,extend",
        ),
    ],
)
def test_a_bad_schedule_is_refused_in_one_sentence(text, reason, example):
    with pytest.raises(ValueError) as refusal:
        parse_batch_schedule(text)
    assert str(refusal.value) == f"{FLAG} {text}: {reason}, as in {example}"


def test_bounds_that_contradict_each_other_for_this_data_are_refused():
    controller = parse_batch_schedule("smith:max=48s")
    with pytest.raises(ValueError) as refusal:
        controller.bind(BASE)
    assert str(refusal.value) == (
        f"{FLAG}: max=48s is 0.75x the plain batch of 64 sentences and 2000 target tokens, below "
        "the smallest batch of 1x; raise it"
    )
