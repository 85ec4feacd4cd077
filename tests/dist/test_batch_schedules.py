"""Batch schedules on two workers: the updates are those of the rule, and a kill loses nothing."""

import pytest

from tests.processes import json_log, run_cli, run_workers
from tests.toys import tiny_transformer
from tests.resume_runs import assert_bit_equal, kill_after_update, last_checkpoint, train

# 60 sentences in micro-batches of 4 for two workers: an epoch is 8 rounds, the last one of 4.
SENTENCES = ("--batch-size", 4, "--max-tokens", 1000, "--disable-validation")
SAVES = ("--save-interval-updates", 5, "--save-interval", 1000, "--no-epoch-checkpoints")


def flags(toy, save_dir, *extra):
    return (*tiny_transformer(toy, save_dir, task="bas_translation"), *SENTENCES, *extra)


@pytest.mark.dist
def test_batch_and_rate_by_hand(toy, tmp_path):
    """AdaBatch in sentences, with copies over workers' rows; kappa against one worker's batch."""
    workers = run_workers(
        2,
        "fairseq_cli.train",
        *flags(toy, tmp_path, "--bas-batch-schedule", "adabatch:factor=2,every=1e,max=32s"),
        *("--bas-replicas", "1@0,2@1e", "--bas-reference-batch", "4s", "--max-epoch", 3),
        *("--lr-scheduler", "bas_scaled", "--bas-lr-scaling", "sqrt", "--adam-betas", "(0.9,0.9)"),
    )
    by_hand = [  # sentences, M, kappa, learning rate: 0.003 * 0.75^epoch * sqrt(kappa)
        *[(8, 1, 2, 0.003 * 2**0.5)] * 7,
        (4, 1, 2, 0.003 * 2**0.5),
        *[(16, 2, 4, 0.003 * 0.75 * 2)] * 3,
        (12, 2, 4, 0.003 * 0.75 * 2),
        (32, 2, 8, 0.003 * 0.75**2 * 8**0.5),
        (28, 2, 8, 0.003 * 0.75**2 * 8**0.5),
    ]
    log = [
        [float(entry[key]) for key in ("bsz", "bas_replicas", "bas_kappa", "lr")]
        for entry in json_log(workers[0], "train_inner")
    ]
    assert [row[:3] for row in log] == [list(row[:3]) for row in by_hand]
    assert [row[3] for row in log] == pytest.approx([row[3] for row in by_hand], rel=1e-5)


GROWTH = {
    "noise-scale": (
        *("--bas-batch-schedule", "noise-scale:fraction=9,every=3,max=4x"),
        *("--bas-measure-every", 1, "--bas-replicas", 2),
        *("--lr-scheduler", "bas_adascale", "--optimizer", "sgd", "--momentum", 0.5),
    ),
    "extend": ("--bas-batch-schedule", "norm-test:max=4x,extend", "--bas-replicas", 2),
}


@pytest.mark.dist
@pytest.mark.parametrize(
    "name", ["noise-scale", pytest.param("extend", marks=pytest.mark.slow)]
)
def test_killed_run_resumes_exactly(toy, tmp_path, name):
    """Law 3, across growth that follows measurements of both workers."""
    extra = (*GROWTH[name], "--dropout", 0.2, *SAVES)
    whole = train(2, flags(toy, tmp_path / "whole", *extra, "--max-update", 16))
    assert len({entry["bsz"] for entry in json_log(whole, "train_inner")}) > 2
    kill_after_update(2, flags(toy, tmp_path / "killed", *extra, "--max-update", 999), update=11)
    position = last_checkpoint(tmp_path / "killed")["extra_state"]["train_iterator"]
    assert position["iterations_in_epoch"] > 0
    resumed = train(2, flags(toy, tmp_path / "killed", *extra, "--max-update", 16))
    assert len(json_log(resumed, "train_inner")) < 16
    ends = [last_checkpoint(tmp_path / end) for end in ("whole", "killed")]
    assert_bit_equal(*ends, "model", "last_optimizer_state")
    states = [end["extra_state"]["train_iterator"]["bas_companions"] for end in ends]
    assert states[0] == states[1] and states[0]["measurement"]["observed"] > 0


@pytest.mark.dist
def test_two_workers_follow_the_curvature_like_one(toy, tmp_path):
    """ABSA: the same updates as one worker that adds up two micro-batches, and the same Hessian."""
    schedule = "absa:every=3u,max=4x,patience=3,drop=1.2,sentences=12"
    extra = ("--bas-batch-schedule", schedule, "--bas-adversarial", "fgsm", "--max-update", 12)
    extra += ("--lr-scheduler", "bas_scaled", "--bas-base-schedule", "fixed", "--no-save")
    one = run_cli("fairseq_cli.train", *flags(toy, tmp_path, *extra, "--update-freq", 2))
    two = run_workers(2, "fairseq_cli.train", *flags(toy, tmp_path, *extra))
    logs = [json_log(run, "train_inner") for run in (one, *two)]
    keys = ("loss", "bsz", "bas_kappa", "bas_adversarial_share", "bas_curvature")
    rows = [[[entry.get(key) for key in keys] for entry in log] for log in logs if log]
    assert all(other == rows[0] for other in rows[1:]) and len(rows) > 1
    assert {"1", "2"} <= {entry["bas_kappa"] for entry in logs[0]}
