"""Runs that meet a damaged checkpoint, a full disk or an early stop."""

import os
import resource
import subprocess
import sys

import pytest

pytest.importorskip("fairseq")

from tests.helpers import ROOT, json_log, run_cli, tiny_transformer
from tests.in_process import train_here
from tests.resume_runs import assert_bit_equal, last_checkpoint

SAVE_OFTEN = ("--save-interval-updates", 2, "--disable-validation", "--batch-size", 6)


def flags(toy, save_dir, *extra):
    return [*tiny_transformer(toy, save_dir, task="bas_translation"), *extra]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """An epoch and a part of the next, with a checkpoint after every other update."""
    save_dir = tmp_path_factory.mktemp("trained")
    train_here(flags(toy, save_dir, *SAVE_OFTEN, "--max-update", 14))
    return save_dir


def damaged_copy(trained, folder, names):
    """Copy a folder of checkpoints, with a bit flipped in the tensors of some."""
    for path in trained.iterdir():
        content = bytearray(path.read_bytes())
        if path.name in names:
            content[len(content) // 2] ^= 1
        (folder / path.name).write_bytes(content)


def test_damaged_newest_checkpoint_is_named_and_the_one_before_used(toy, trained, tmp_path):
    [newest] = trained.glob("checkpoint_*_12.pt")
    [copy_of_last] = trained.glob("checkpoint_*_14.pt")
    damaged_copy(trained, tmp_path, {"checkpoint_last.pt", copy_of_last.name})
    run = run_cli("fairseq_cli.train", *flags(toy, tmp_path, *SAVE_OFTEN, "--max-update", 14))
    [warning] = [
        line for line in run.stdout.splitlines() if "| WARNING |" in line and "goes on" in line
    ]
    assert "checkpoint_last.pt is damaged: its content is not that" in warning
    assert f"goes on from {newest.name} (update 12), and the 2 updates after it" in warning
    assert [line["num_updates"] for line in json_log(run, "train_inner")] == ["13", "14"]
    assert_bit_equal(
        last_checkpoint(trained), last_checkpoint(tmp_path), "model", "last_optimizer_state"
    )
    assert (tmp_path / "checkpoint_last.pt.damaged").exists()


def test_named_damaged_checkpoint_and_damaged_ones_only_are_refused(toy, trained, tmp_path):
    damaged_copy(trained, tmp_path, {path.name for path in trained.iterdir()})
    for extra in ([], ["--restore-file", tmp_path / "checkpoint_last.pt"]):
        with pytest.raises(SystemExit, match=r"checkpoint_last.pt is damaged: .* there is no comp"):
            train_here(flags(toy, tmp_path, *SAVE_OFTEN, "--max-update", 14, *extra))
    damaged_copy(trained, tmp_path, {"checkpoint_last.pt"})
    with pytest.raises(SystemExit, match=r"is damaged: .* pass --restore-file .*, the newest"):
        extra = ("--restore-file", tmp_path / "checkpoint_last.pt")
        train_here(flags(toy, tmp_path, *SAVE_OFTEN, "--max-update", 14, *extra))


def test_full_disk_ends_with_one_line_and_leaves_the_checkpoint_before(toy, trained, tmp_path):
    """The limit on the size of files stands for a full disk: it too ends a write in the middle."""
    damaged_copy(trained, tmp_path, set())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    size = min(map(len, before.values()))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(
            SystemExit, match=r"checkpoint_\d_16.pt could not be .*large \(EFBIG\);"
        ):
            train_here(flags(toy, tmp_path, *SAVE_OFTEN, "--max-update", 18))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_folder_that_cannot_be_written_is_refused_before_training(toy, tmp_path):
    (tmp_path / "file").write_text("in the way")
    run = run_cli("fairseq_cli.train", *flags(toy, tmp_path / "file" / "ck"), check=False)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "file/ck cannot be written: Not a directory (ENOTDIR);" in run.stderr.splitlines()[-1]


def test_patience_counts_on_over_a_restart(toy, tmp_path):
    """With a learning rate of almost zero, the first validation stays the best to 3 digits."""
    common = (
        *("--lr", 1e-6, "--max-epoch", 6, "--patience", 3, "--no-epoch-checkpoints"),
        *("--lr-scheduler", "reduce_lr_on_plateau", "--lr-patience", 0, "--lr-threshold", 0.5),
    )
    whole = train_here(flags(toy, tmp_path / "whole", *common))
    train_here(flags(toy, tmp_path / "parts", *common, "--max-epoch", 2))
    rest = train_here(flags(toy, tmp_path / "parts", *common))
    assert whole[-1]["epoch"] == 4
    assert [(e["num_updates"], e["lr"]) for e in rest] == [
        (e["num_updates"], e["lr"]) for e in whole if e["epoch"] > 2
    ]
    assert_bit_equal(
        *(last_checkpoint(tmp_path / name) for name in ("whole", "parts")),
        "model",
        "last_optimizer_state",
    )


def test_five_kills(tmp_path):
    """The short form of the bench of 50 kills, in a process, as its user runs it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "scripts" / "bench" / "kills.py", "--kills", "5"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    assert "5 kills of 1 worker" in run.stdout and "uninterrupted run: yes" in run.stdout
