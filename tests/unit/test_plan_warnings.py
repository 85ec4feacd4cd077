"""Each rule by a case that just breaks it and one that just does not."""

import dataclasses

import pytest

from fairseq_bas.tool.plan_warnings import PlanFacts, merged, warnings_of

GOOD = PlanFacts(
    updates=1000,
    epochs=10,
    epoch_sentences=6400,
    largest_sentences=640,
    largest_replicas=4,
    has_noise=True,
    largest_kappa=8,
    scheduler="bas_scaled",
    schedule="polynomial_decay",
    schedule_length=1000,
    schedule_end=1000,
    warmup_updates=100,
    peak_lr=0.0125,
    adam=True,
    post_norm_width=256,  # published: 1 / sqrt(256 · 100) = 0.00625
    smallest_batch=(0.25, "16s"),
    grain=0.25,
    workers=4,
)

CASES = {
    "large batch": (
        {"largest_sentences": 641},
        "the largest batch of 641 sentences is 10% of an epoch, and beyond a tenth growing batches "
        "no longer replace a decay (Smith et al. 2017); lower the maximum of --bas-batch-schedule, "
        "--update-freq or --max-tokens",
    ),
    "warm-up": (
        {"schedule_end": 100},
        "the warm-up of 100 updates is not over when the run ends, after 1,000 updates; lower "
        "--warmup-updates or train longer",
    ),
    "learning rate": (
        {"peak_lr": 0.0126},
        "the learning rate reaches 0.0126, 2.0 times the 0.00625 of Vaswani et al. 2017 for width "
        "256 and 100 updates of warm-up, and beyond twice that Transformers with post-norm are "
        "reported to diverge; lower --lr or --bas-lr-scaling, warm up longer, or pass "
        "--encoder-normalize-before and --decoder-normalize-before",
    ),
    "decay": (
        {"schedule_length": 4000, "schedule_end": 2000, "clock": "samples"},
        "the run ends after 50% of the polynomial_decay of 4,000 updates (its clock, which counts "
        "samples, ends at 2,000), so the learning rate is still high; pass --total-num-update "
        "2000, or train longer",
    ),
    "small batch": (
        {"smallest_batch": (0.1, "6s")},
        "a batch of 6s cannot be had, as an update holds at least one micro-batch of all 4 "
        "workers, 2.5 times as much; lower --max-tokens or --batch-size, or use fewer workers",
    ),
    "unscaled learning rate": (
        {"knows_batch": False, "scheduler": "inverse_sqrt"},
        "the batch grows to 8 times the reference batch and --lr-scheduler inverse_sqrt does not "
        "scale the learning rate with it; if it should, pass --lr-scheduler bas_scaled "
        "--bas-base-schedule inverse_sqrt with --bas-lr-scaling sqrt or linear",
    ),
    "equal copies": (
        {"has_noise": False},
        "4 copies of every sentence without noise are all alike and only cost time; raise "
        "--dropout, or pass --bas-source-noise or --bas-target-noise",
    ),
}


def test_a_good_run_has_no_warning():
    assert warnings_of(GOOD) == {}


@pytest.mark.parametrize("rule", CASES)
def test_each_rule(rule):
    changes, sentence = CASES[rule]
    assert warnings_of(dataclasses.replace(GOOD, **changes)) == {rule: sentence}


def test_decay_that_is_over_long_before_the_run():
    facts = dataclasses.replace(GOOD, schedule_length=500)
    (sentence,) = warnings_of(facts).values()
    assert sentence == (
        "the polynomial_decay of 500 updates is over after 50% of the run, which goes on at the "
        "last learning rate; pass --total-num-update 1000, or stop earlier"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "inverse_sqrt", "schedule_length": None},
        {"schedule": "cosine", "schedule_length": 500},  # it restarts
        {"schedule_length": 1020},
        {"schedule_length": 900},
        {"peak_lr": 0.1, "adam": False},
        {"peak_lr": 0.1, "post_norm_width": None},
        {"peak_lr": 0.1, "warmup_updates": 0},
        {"has_noise": False, "largest_replicas": 1},
        {"knows_batch": False, "largest_kappa": 1},
        {"smallest_batch": None},
    ],
)
def test_what_is_no_reason(changes):
    assert warnings_of(dataclasses.replace(GOOD, **changes)) == {}


def test_cosine_that_is_cut_names_its_period():
    facts = dataclasses.replace(GOOD, schedule="cosine", schedule_length=2100)
    assert "pass --lr-period-updates 900, or train longer" in warnings_of(facts)["decay"]


def test_warnings_of_one_course_are_named():
    low = warnings_of(dataclasses.replace(GOOD, has_noise=False))
    high = warnings_of(dataclasses.replace(GOOD, has_noise=False, largest_sentences=1280))
    general, special = merged({"low": low, "high": high})
    assert general == CASES["equal copies"][1]
    assert special.startswith("if high: the largest batch of 1,280 sentences is 20% of an epoch")
