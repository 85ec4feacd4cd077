"""Runs that meet a damaged checkpoint, a full disk or an early stop."""

import resource
import sys

import pytest

pytest.importorskip("fairseq")

from scripts.bench import kills
from tests.forked import ForkedProcess
from tests.in_process import train_here
from tests.processes import json_log, run_cli
from tests.resume_runs import assert_bit_equal, last_checkpoint
from tests.toys import tiny_bas_lstm, tiny_transformer

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


def test_full_disk_ends_both_workers_with_one_line(toy, trained, tmp_path):
    damaged_copy(trained, tmp_path, set())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    two = ("--max-update", 18, "--distributed-world-size", 2)
    given = map(str, flags(toy, tmp_path, *SAVE_OFTEN, *two))
    command = ForkedProcess("fairseq_cli.train", [*given])
    # Its workers, which it starts once it has read its flags, have the limit too.
    size = min(map(len, before.values())) // 2
    resource.prlimit(command._process.pid, resource.RLIMIT_FSIZE, (size, size))
    try:
        _, errors = command.communicate(timeout=120)
    finally:
        command.kill()
    assert command.returncode == 1 and "Traceback" not in errors
    assert errors.count("could not be written: File too large (EFBIG);") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("limit", "reached"),
    [
        (("--max-update", 14), "--max-update 14"),
        (("--max-epoch", 1), "--max-epoch 1"),
        (("--stop-time-hours", 1e-6), "--stop-time-hours 1e-06"),
    ],
)
def test_finished_run_is_left_alone(toy, trained, caplog, limit, reached):
    """Stock fairseq would make one update more, and save it over the end of the run."""
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    with caplog.at_level("INFO"), pytest.raises(SystemExit) as ended:
        train_here(flags(toy, trained, *SAVE_OFTEN, *limit))
    assert ended.value.code == 0
    [line] = [line for line in caplog.messages if "is finished" in line]
    assert line.endswith(f"after 14 updates: it has reached {reached}; pass a larger one to go on")
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (
            ("--encoder-layers", 2, "--dropout", 0.5),
            "it has --encoder-layers 1 \\(here 2\\); encoder",
        ),
        (("--optimizer", "sgd"), "was trained with --optimizer of class FairseqAdam and .* SGD;"),
    ],
)
def test_checkpoint_of_another_model_is_refused_by_what_differs(toy, trained, changed, difference):
    with pytest.raises(SystemExit, match=difference) as ended:
        train_here(flags(toy, trained, *SAVE_OFTEN, "--max-update", 16, *changed))
    assert "\n" not in str(ended.value) and "--dropout" not in str(ended.value)


def test_checkpoint_of_another_architecture_is_refused(toy, trained):
    other = tiny_bas_lstm(toy, trained, task="bas_translation")
    with pytest.raises(SystemExit, match=r"it has --arch transformer\w* \(here bas_lstm\); "):
        train_here([*other, "--max-update", 16])


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


def test_five_kills(monkeypatch, capsys):
    """The short form of the bench of 50 kills, by the command that its user runs."""
    monkeypatch.setattr(sys, "argv", ["kills.py", "--kills", "5"])
    assert kills.main() == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert "5 kills of 1 worker" in printed and "uninterrupted run: yes" in printed
