"""Batch schedules in real runs: what was logged equals tables by hand, and resume is exact."""

import numpy as np
import pytest

from tests.in_process import train_here
from tests.resume_runs import assert_bit_equal, last_checkpoint
from tests.toys import tiny_transformer

# 60 sentences in micro-batches of 4: an epoch is 15 of them.
SENTENCES = ("--batch-size", 4, "--max-tokens", 1000, "--disable-validation")
POLYNOMIAL = ("--bas-base-schedule", "polynomial_decay", "--total-num-update")


def run(toy, save_dir, *extra, optimizer="adam"):
    flags = tiny_transformer(toy, save_dir, task="bas_translation")
    return train_here([*flags, *SENTENCES, "--optimizer", optimizer, *extra])


def table(entries, *columns):
    return np.array([[entry[column] for column in columns] for entry in entries])


def test_piecewise_schedule_by_hand(toy, tmp_path):
    """1x until update 3, 2x until epoch 2, 5x then; an epoch ends with what is left of it."""
    log = run(
        toy,
        tmp_path / "a",
        *("--bas-batch-schedule", "1x@0,2x@3u,5x@1e", "--bas-replicas", "1@0,2@44s"),
        *("--lr-scheduler", "bas_scaled", "--bas-lr-scaling", "linear", "--max-epoch", 2),
    )
    rate = 0.003
    by_hand = [
        *[(1, update, 4, 1, rate) for update in (1, 2, 3)],
        *[(1, update, 8, 1, 2 * rate) for update in (4, 5, 6, 7)],
        *[(1, update, 8, 2, 2 * rate) for update in (8, 9)],
        *[(2, update, 20, 2, 5 * rate) for update in (10, 11, 12)],
    ]
    columns = ("epoch", "num_updates", "bsz", "bas_replicas", "lr")
    assert table(log, *columns) == pytest.approx(np.array(by_hand))


def test_sentences_schedule_by_hand(toy, tmp_path):
    """16 sentences at first, 24 from 32 on: kappa against a reference of 8."""
    log = run(
        toy,
        tmp_path / "a",
        *("--bas-batch-schedule", "16s@0,24s@32s", "--bas-reference-batch", "8s"),
        *("--lr-scheduler", "bas_scaled", "--bas-lr-scaling", "sqrt", "--max-epoch", 2),
    )
    rate = 0.003
    by_hand = [(16, 2), (16, 2), (24, 3), (4, 3), (24, 3), (24, 3), (12, 3)]
    assert table(log, "bsz", "bas_kappa") == pytest.approx(np.array(by_hand))
    rates = [rate * kappa**0.5 for _, kappa in by_hand]
    assert [entry["lr"] for entry in log] == pytest.approx(rates, rel=1e-5)


def test_adabatch_keeps_the_ratio_of_rate_to_batch(toy, tmp_path):
    """The published pair: a fixed batch decays by 0.375, AdaBatch doubles and decays by 0.75."""
    log = run(
        toy,
        tmp_path / "a",
        *("--bas-batch-schedule", "adabatch:factor=2,every=1e,decay=0.75,max=4x"),
        *("--lr-scheduler", "bas_scaled", "--max-epoch", 4),
    )
    rates = {1: (4, 0.003), 2: (8, 0.00225), 3: (16, 0.0016875)}
    for epoch, (batch, rate) in rates.items():
        of_epoch = [entry for entry in log if entry["epoch"] == epoch]
        assert of_epoch[0]["bsz"] == batch
        assert [entry["lr"] for entry in of_epoch] == pytest.approx(
            [rate] * len(of_epoch), rel=1e-5
        )
    for epoch in (1, 2, 3, 4):  # beyond max, the rate alone falls
        entry = next(entry for entry in log if entry["epoch"] == epoch)
        assert entry["lr"] / entry["bsz"] == pytest.approx(
            0.003 / 4 * 0.375 ** (epoch - 1), rel=1e-4
        )


@pytest.mark.parametrize("name", ["smith", "seesaw"])
def test_growth_replaces_decay(toy, tmp_path, name):
    """Smith: the rate per sentence is that of the decayed run; Seesaw: the rate per its root."""
    log = run(
        toy,
        tmp_path / "a",
        *("--bas-batch-schedule", f"{name}:max=8x", "--max-epoch", 4),
        *("--lr-scheduler", "bas_scaled", "--bas-lr-clock", "samples"),
        *("--bas-reference-batch", "4s", *POLYNOMIAL, 80),
    )
    seen, exponent = 0, {"smith": 1.0, "seesaw": 0.5}[name]
    for entry in log:
        # Whole micro-batches: the largest number of them that is not above 1 / decay.
        batch = min(8, int(1 / (1 - seen / 4 / 80) + 1e-9))
        assert entry["bas_kappa"] == batch
        assert entry["lr"] == pytest.approx(0.003 * batch ** (exponent - 1), rel=1e-4)
        seen += entry["bsz"]
    assert seen == 240 and log[-1]["bas_kappa"] == 3


def test_legw_warms_up_over_as_many_updates_for_every_batch(toy, tmp_path):
    """Kappa times as many epochs, which have kappa times fewer updates."""
    rates = {}
    for kappa in (1, 4):
        log = run(
            toy,
            tmp_path / f"kappa{kappa}",
            *("--bas-batch-schedule", f"{4 * kappa}s", "--bas-reference-batch", "4s"),
            *("--lr-scheduler", "bas_legw", "--warmup-updates", 5, *POLYNOMIAL, 200),
            *("--max-update", 9),
        )
        rates[kappa] = [entry["lr"] for entry in log]
    warmup = [0.003 * update / 5 for update in range(5)]
    assert rates[1][:5] == pytest.approx(warmup)
    assert rates[4][:5] == pytest.approx([2 * rate for rate in warmup])
    # Then decay by the text seen: fairseq's formula at seen / 4. With kappa 4, four updates are an
    # epoch of 60 sentences and the fifth has 16.
    for kappa, seen in ((1, 20), (4, 76)):
        decay = 1 - (seen / 4 - 5) / 195
        assert rates[kappa][5] == pytest.approx(kappa**0.5 * 0.003 * decay, rel=1e-5)


def test_samples_clock_gives_the_rate_of_the_reference_run(toy, tmp_path):
    """At the same amount of text, the rate of fairseq's own schedule with the reference batch."""
    ours = run(
        toy,
        tmp_path / "ours",
        *("--bas-batch-schedule", "3x", "--bas-reference-batch", "4s", "--bas-lr-clock", "samples"),
        *("--lr-scheduler", "bas_scaled", *POLYNOMIAL, 60, "--max-epoch", 2),
    )
    rates = [0.003 * (1 - 3 * update / 60) for update in range(10)]
    assert [entry["lr"] for entry in ours] == pytest.approx(rates)


def test_plain_schedules_are_fairseqs(toy, tmp_path):
    """Without growth or scaling, bas_scaled trains bit for bit as the schedule it stands on."""
    flags = ("--warmup-updates", 4, "--max-update", 9, "--no-epoch-checkpoints")
    for name, *extra in (
        ("inverse_sqrt",),
        ("cosine", "--min-lr", 1e-4),
        ("step", "--lr-deacy-period", 3),
    ):
        run(toy, tmp_path / f"{name}-a", *flags, *extra, "--lr-scheduler", name)
        scaled = ("--lr-scheduler", "bas_scaled", "--bas-base-schedule", name)
        run(toy, tmp_path / f"{name}-b", *flags, *extra, *scaled)
        one, other = (last_checkpoint(tmp_path / f"{name}-{run}") for run in "ab")
        assert_bit_equal(one, other, "model")


def test_adascale_counts_its_gains_and_ends_with_the_base_schedule(toy, tmp_path):
    log = run(
        toy,
        tmp_path / "a",
        *("--bas-batch-schedule", "4x", "--lr-scheduler", "bas_adascale", *POLYNOMIAL, 40),
        *("--bas-measure-every", 1, "--max-epoch", 50),
        optimizer="sgd",
    )
    gains = [entry["bas_gain"] for entry in log]
    assert gains[0] == 1 and max(gains) > 1.1 and all(1 <= gain <= 4 for gain in gains)
    progress = 0.0
    for entry in log:
        assert entry["bas_progress"] == pytest.approx(progress, abs=1e-2)
        assert entry["lr"] == pytest.approx(
            entry["bas_gain"] * 0.003 * (1 - progress / 40), rel=1e-3
        )
        progress += entry["bas_gain"]
    assert progress >= 40 > progress - gains[-1]


def test_larger_passes_give_the_same_update(toy, tmp_path):
    """Law 2: passes of up to 60 tokens instead of micro-batches of 4 sentences."""
    flags = ("--bas-batch-schedule", "4x", "--dropout", 0, "--max-update", 6, "--clip-norm", 100)
    plain = run(toy, tmp_path / "a", *flags, "--batch-size", 2)
    merged = run(toy, tmp_path / "b", *flags, "--batch-size", 2, "--bas-max-tokens-per-pass", 60)
    for one, other in zip(plain, merged, strict=True):
        assert (one["bsz"], one["wpb"]) == (other["bsz"], other["wpb"]) == (8, one["wpb"])
        assert other["loss"] == pytest.approx(one["loss"], abs=2e-3)
        assert other["gnorm"] == pytest.approx(one["gnorm"], abs=2e-3)


def test_an_update_that_fails_the_norm_test_takes_more(toy, tmp_path):
    """A mild test is passed by two micro-batches at once, a hard one by none up to the bound."""
    sizes = {}
    for theta in (1000, 0.001):
        schedule = f"norm-test:theta={theta},max=6x,min=2x,every=1000,extend"
        log = run(toy, tmp_path / str(theta), "--bas-batch-schedule", schedule, "--max-epoch", 1)
        sizes[theta] = [entry["bsz"] for entry in log]
    assert sizes == {1000: [8] * 7 + [4], 0.001: [24, 24, 12]}


MEASURED = ("--bas-measure-every", 1, "--bas-replicas", 2)
STEEP = ("--optimizer", "sgd", "--momentum", 0.5, "--lr", 30, "--clip-norm", 0.003)
RUNS = {
    "piecewise": ("--bas-batch-schedule", "1x@0,2x@10u,3x@1e,2x@200s"),
    "linear": ("--bas-batch-schedule", "linear:from=4s,to=24s,over=2e"),
    "adabatch": (
        *("--bas-batch-schedule", "adabatch:factor=2,every=7u,max=6x"),
        *("--lr-scheduler", "bas_scaled"),
    ),
    "seesaw": (
        *("--bas-batch-schedule", "seesaw:max=8x", "--lr-scheduler", "bas_scaled"),
        *("--bas-lr-clock", "samples", *POLYNOMIAL, 30, "--bas-scale-also", "betas,eps,clip"),
    ),
    "noise-scale": ("--bas-batch-schedule", "noise-scale:fraction=3,every=3,max=4x", *MEASURED),
    "cabs": ("--bas-batch-schedule", "cabs:max=4x", *MEASURED, *STEEP),
    "norm-test": ("--bas-batch-schedule", "norm-test:max=4x", *MEASURED),
    "extend": ("--bas-batch-schedule", "norm-test:max=6x,extend", "--bas-replicas", 2),
    "merged": ("--bas-batch-schedule", "2x@0,3x@8u", "--bas-max-tokens-per-pass", 60),
    "legw": (
        *("--bas-batch-schedule", "1x@0,3x@9u", "--lr-scheduler", "bas_legw"),
        *("--warmup-updates", 6, *POLYNOMIAL, 60),
    ),
    "adascale": (
        *("--bas-batch-schedule", "2x@0,4x@9u", "--lr-scheduler", "bas_adascale", *MEASURED),
        *POLYNOMIAL,
        1000,
    ),
    "effective": (
        *("--bas-batch-schedule", "1x@0,2x@6u", "--lr-scheduler", "bas_scaled", *MEASURED),
        *("--bas-scale-by", "effective", "--bas-lr-scaling", "sqrt"),
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_resume_in_the_middle_of_an_epoch_is_exact(toy, tmp_path, name):
    """Law 3: stopped after 12 updates, in an epoch and before or after a stage of growth."""
    flags = (*RUNS[name], "--dropout", 0.2)
    whole = run(toy, tmp_path / "whole", *flags, "--max-update", 20)
    first = run(toy, tmp_path / "parts", *flags, "--max-update", 12)
    position = last_checkpoint(tmp_path / "parts")["extra_state"]["train_iterator"]
    assert position["iterations_in_epoch"] > 0
    second = run(toy, tmp_path / "parts", *flags, "--max-update", 20)
    assert len({entry["bas_kappa"] for entry in whole}) > 1
    for one, other in zip(whole, first + second, strict=True):
        assert (
            one["lr"] == other["lr"] and one["bsz"] == other["bsz"] and one["loss"] == other["loss"]
        )
    ends = (last_checkpoint(tmp_path / end) for end in ("whole", "parts"))
    assert_bit_equal(*ends, "model", "last_optimizer_state")


@pytest.mark.parametrize("stop", [8, 20])
def test_automatic_warm_up_resumes_exactly(toy, tmp_path, stop):
    """Law 3, in its warm-up and in its decay: the switch comes at update 15 at the latest."""
    flags = (
        *("--lr-scheduler", "bas_autowu", "--bas-autowu-every", 3, "--max-update", 24),
        *("--bas-batch-schedule", "1x@0,2x@6u", "--dropout", 0.2),
    )
    saved = ("--save-interval-updates", stop)
    whole = run(toy, tmp_path / "whole", *flags, *saved)
    (middle,) = (tmp_path / "whole").glob(f"checkpoint_*_{stop}.pt")
    resumed = run(toy, tmp_path / "resumed", *flags, "--restore-file", middle)
    for one, other in zip(whole[stop:], resumed, strict=True):
        assert (one["lr"], one["loss"]) == (other["lr"], other["loss"])
    rates = [entry["lr"] for entry in whole]
    assert rates[0] < rates[12] and rates[-1] < max(rates)
    ends = (last_checkpoint(tmp_path / end) for end in ("whole", "resumed"))
    assert_bit_equal(*ends, "model", "last_optimizer_state")
