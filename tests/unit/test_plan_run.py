"""A planned run is the run: its table equals what training logged, for every kind of schedule."""

from itertools import pairwise

import numpy as np
import pytest

from fairseq_bas.errors import UserError
from fairseq_bas.tool.plan_run import plan
from fairseq_bas.tool.plan_setup import PlannedSetup, read_flags
from tests.in_process import train_here
from tests.toys import tiny_awd_lstm_lm, tiny_lstm_lm, tiny_transformer

POLYNOMIAL = ("--bas-base-schedule", "polynomial_decay", "--total-num-update")
SCALED = ("--lr-scheduler", "bas_scaled", "--bas-lr-scaling", "sqrt")
SAMPLES = ("--bas-lr-clock", "samples", "--bas-reference-batch", "4s")


def planned(flags):
    return plan(PlannedSetup(read_flags([str(flag) for flag in flags])))


def rows_of(flags):
    (course,) = planned(flags).courses
    return course.table.rows


def translation(toy, save_dir, *extra):
    flags = tiny_transformer(toy, save_dir, task="bas_translation")
    return [*flags, "--batch-size", 4, "--max-tokens", 1000, "--disable-validation", *extra]


RUNS = {
    "piecewise": (
        *("--bas-batch-schedule", "1x@0,2x@3u,5x@1e", "--bas-replicas", "1@0,2@44s,3@1e"),
        *(*SCALED, "--max-epoch", 3),
    ),
    "tokens": ("--bas-batch-schedule", "linear:from=0.03kt,to=0.2kt,over=2e", "--max-update", 17),
    "adabatch": (
        *("--bas-batch-schedule", "adabatch:factor=2,every=1e,max=4x", "--max-epoch", 4),
        *("--lr-scheduler", "bas_scaled"),
    ),
    "smith": (
        *("--bas-batch-schedule", "smith:max=8x", "--max-epoch", 5, "--warmup-updates", 4),
        *("--lr-scheduler", "bas_scaled", *SAMPLES, *POLYNOMIAL, 80),
    ),
    "legw": (
        *("--bas-batch-schedule", "1x@0,3x@2e", "--bas-reference-batch", "2s", "--max-epoch", 4),
        *("--lr-scheduler", "bas_legw", "--warmup-updates", 20, *POLYNOMIAL, 60),
    ),
    "plain": ("--update-freq", "1,4,2", "--skip-remainder-batch", "--max-epoch", 4),
}


def assert_as_logged(rows, log):
    exact = {
        "num_updates": "update",
        "epoch": "epoch",
        "bsz": "sentences",
        "wpb": "target_tokens",
        "bas_replicas": "replicas",
    }
    for key, name in exact.items():
        assert [getattr(row, name) for row in rows] == [entry[key] for entry in log], key
    kappas = [entry.get("bas_kappa", 1) for entry in log]  # four digits, where it is logged
    assert [row.kappa for row in rows] == pytest.approx(kappas, rel=0, abs=6e-5)
    rates = [entry["lr"] for entry in log]  # logged with six
    assert [row.lr for row in rows] == pytest.approx(rates, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", RUNS)
def test_translation_as_logged(toy, tmp_path, name):
    flags = translation(toy, tmp_path, *RUNS[name])
    log = train_here(flags)
    assert len({entry["bsz"] for entry in log}) > 1
    assert_as_logged(rows_of(flags), log)


def test_streams_as_logged(toy_lm, tmp_path):
    """Windows of varying length, other ones in every epoch, read at other places by each copy."""
    flags = [
        *(*tiny_awd_lstm_lm(toy_lm, tmp_path), "--disable-validation", "--bas-variable-bptt"),
        *("--bas-batch-schedule", "1x@0,2x@1e", "--bas-replicas", 2, "--bas-offset-copies"),
        *(*SCALED, "--max-epoch", 3),
    ]
    log = train_here(flags)
    assert_as_logged(rows_of(flags), log)


def test_tasks_of_fairseq_as_logged(toy_lm, tmp_path):
    """Without this plugin's task there is a plan all the same."""
    flags = [
        *(*tiny_lstm_lm(toy_lm, tmp_path), "--disable-validation", "--update-freq", "1,3"),
        *("--lr-scheduler", "inverse_sqrt", "--warmup-updates", 4, "--max-epoch", 2),
    ]
    log, rows = train_here(flags), rows_of(flags)
    assert [row.sentences for row in rows] == [entry["bsz"] for entry in log]
    assert [row.target_tokens for row in rows] == [entry["wpb"] for entry in log]
    # fairseq logs the rate that the next update will have.
    assert [row.lr for row in rows[1:]] == pytest.approx([e["lr"] for e in log[:-1]], rel=1e-4)
    assert rows[0].lr == 0


def test_two_workers_read_what_their_iterators_give(toy, tmp_path):
    """The sizes of updates, from the real micro-batches of both workers."""
    schedule = ("--bas-batch-schedule", "1x@0,2x@3u", "--max-epoch", 2)
    flags = translation(toy, tmp_path, *schedule, "--distributed-world-size", 2)
    run = planned(flags)
    rounds = []
    for worker in range(2):
        setup = PlannedSetup(read_flags([str(flag) for flag in flags]))
        setup.task.load_dataset("train")
        iterator = setup.task.get_batch_iterator(
            setup.task.dataset("train"),
            max_tokens=1000,
            max_sentences=4,
            max_positions=(1024, 1024),
            num_shards=2,
            shard_id=worker,
        )
        read = [
            (0, 0) if batch["is_empty"] else (batch["nsentences"], batch["ntokens"])
            for _ in range(2)
            for batch in iterator.next_epoch_itr()
        ]
        rounds.append(read)
    both = np.sum(rounds, axis=0)  # 15 micro-batches: 8 rounds in each of 2 epochs
    sizes, start = [], 0
    for update in range(10):
        step = 1 if update < 3 else 2
        stop = min(start + step, 8 if start < 8 else 16)
        if start < 16:
            sizes.append(both[start:stop].sum(axis=0).tolist())
        start = stop
    rows = run.courses[0].table.rows
    assert [[row.sentences, row.target_tokens] for row in rows] == sizes
    assert sum(row.sentences for row in rows) == 120


def test_measured_batches_have_two_ends(toy, tmp_path):
    """From 1x on by a factor of at most 2 at every third update that is measured, up to 6x."""
    schedule = "noise-scale:fraction=1,every=3,max=6x"
    measured = ("--bas-batch-schedule", schedule, "--bas-measure-every", 1, "--max-update", 9)
    low, high = planned(translation(toy, tmp_path, *measured)).courses
    assert [row.kappa for row in low.table.rows] == [1] * 9
    assert [row.kappa for row in high.table.rows] == [1, 1, 1, 2, 2, 2, 4, 4, 4]
    assert (low.outlook, high.outlook) == ("low", "high")


def test_gains_have_two_ends(toy, tmp_path):
    """A gain is 1 to kappa times M, once five updates have told it."""
    flags = translation(
        toy,
        tmp_path,
        *("--bas-batch-schedule", "3x", "--bas-replicas", 2, "--lr-scheduler", "bas_adascale"),
        *("--bas-measure-every", 1, *POLYNOMIAL, 23, "--max-epoch", 50),
    )
    low, high = planned(flags).courses
    assert low.table.totals.updates == 23 and high.table.totals.updates == 5 + 3
    rates = [0.003 * (1 - update / 23) for update in range(23)]
    assert [row.lr for row in low.table.rows] == pytest.approx(rates)
    gains = [1] * 5 + [6] * 3
    done = np.cumsum([0, *gains])[:-1]
    expected = [gain * 0.003 * (1 - at / 23) for gain, at in zip(gains, done, strict=True)]
    assert [row.lr for row in high.table.rows] == pytest.approx(expected)


def test_automatic_warmup_has_two_ends(toy, tmp_path):
    """It ends after three tests at the earliest, and after half of the run at the latest."""
    flags = translation(
        toy,
        tmp_path,
        *("--lr-scheduler", "bas_autowu", "--lr", 0.1, "--bas-autowu-every", 12),
        *("--bas-autowu-min-lr", 0.001, "--max-update", 100),
    )
    low, high = planned(flags).courses
    for course, peak in ((low, 36), (high, 50)):
        rates = [row.lr for row in course.table.rows]
        ramp = [0.001 * 100 ** (update / 50) for update in range(peak)]
        assert rates[:peak] == pytest.approx(ramp)
        assert all(later < sooner for sooner, later in pairwise(rates[peak:]))


def test_a_run_without_end_is_cut(toy, tmp_path):
    (course,) = planned(translation(toy, tmp_path, "--update-freq", 5)).courses
    assert course.is_cut and course.end.epochs == 10 and course.table.totals.updates == 30


def test_what_training_refuses_is_refused(toy, tmp_path):
    smith = ("--bas-batch-schedule", "smith:max=4x")
    with pytest.raises(UserError, match="pass --lr-scheduler bas_scaled"):
        planned(translation(toy, tmp_path, *smith))
    with pytest.raises(UserError, match="pass --bas-lr-clock samples"):
        planned(translation(toy, tmp_path, *smith, "--lr-scheduler", "bas_scaled"))
    flat = ("--optimizer", "bas_lamb", "--fp16")
    with pytest.raises(UserError, match="--fp16-no-flatten-grads"):
        planned(translation(toy, tmp_path, *flat))
    with pytest.raises(ValueError, match="no whole update"):
        flags = ("--update-freq", 40, "--skip-remainder-batch", "--max-update", 3)
        planned(translation(toy, tmp_path, *flags))
