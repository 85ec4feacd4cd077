"""Runs read from folders and logs: tables, warnings, endings, outlook, checkpoints."""

import math

import numpy as np
import pytest
import torch

from fairseq_bas.tool.training_run import load_run
from tests.run_logs import dated, inner, start, valid, whole_run

OVERFLOW = "NOTE: gradient overflow detected, ignoring gradient, setting loss scale to: 64.0"


def run_of(tmp_path, *lines, name="train.log"):
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(lines), encoding="utf-8")
    return load_run(str(folder))


def kinds(run):
    return {event.kind: event for event in run.events}


def test_a_whole_run(tmp_path):
    run = run_of(tmp_path, whole_run())
    assert (run.name, run.ending, run.log.updates, run.events) == ("run", "done", 100, [])
    assert run.train["updates"].tolist() == list(range(10, 101, 10))
    assert run.train["tokens"].tolist() == [50 * n for n in range(10, 101, 10)]
    assert run.train["hours"] == pytest.approx(np.arange(10, 101, 10) / 3600)
    assert run.valid["bleu"].tolist() == [5, 10]
    assert run.flags["lr"] == [0.1]
    with pytest.raises(KeyError, match="no column nothing; there are epoch"):
        run.train["nothing"]


def test_an_unfinished_run_says_when_it_will_end(tmp_path):
    # Started at 0 s, at update 40 after 40 s, a line cut in the middle; 100 updates in all.
    lines = [start(), *(inner(n, n) for n in (10, 20, 30, 40)), inner(50, 50)[:70]]
    run = run_of(tmp_path, *lines)
    assert (run.ending, run.log.updates, run.outlook.updates) == ("unfinished", 40, 100)
    assert run.outlook.seconds == 60


def test_a_resumed_run_has_the_pace_of_its_last_process(tmp_path):
    loaded = dated(500, "fairseq.trainer", "Loaded checkpoint a.pt (epoch 1 @ 20 updates)")
    interrupted = dated(
        41, "fairseq_bas.resilience.interruption", "interrupted by SIGTERM: saved after update 20"
    )
    run = run_of(
        tmp_path,
        *(start(), inner(10, 10), inner(20, 20), inner(40, 30), interrupted),
        *(start(500, lr=0.2), loaded, inner(520, 30), inner(540, 40)),
    )
    assert run.outlook.seconds == 2 * 60  # 20 updates in 40 s, 60 more to go
    assert run.train["updates"].tolist() == [10, 20, 30, 40]
    assert run.ending == "unfinished" and run.text.processes == 2
    assert kinds(run)["interruption"].first == 30
    assert kinds(run)["flags changed"].message == "--lr: 0.1, then 0.2"
    ended = run_of(tmp_path, start(), inner(10, 10), interrupted)
    assert ended.ending == "interrupted"


def test_warnings_are_counted_and_placed(tmp_path):
    guard = "fairseq_bas.resilience.divergence_guard"
    run = run_of(
        tmp_path,
        *(start(), dated(1, "fairseq_bas.task.run_summary", "batch augmentation")),
        "  replicas       M = 4, placed as rows\n",
        "  left out       2 of 60 sentences by fairseq: too long\n",
        "  noise          seed 1, key fingerprint 8c0593cf\n",
        *(inner(10, 10), dated(11, "fairseq_bas.precision.hooks", OVERFLOW)),
        *(inner(20, 20), dated(21, "fairseq_bas.precision.hooks", OVERFLOW.replace("64", "32"))),
        dated(
            22, guard, "the loss of update 25 is 99, the run diverges; the run goes on", "WARNING"
        ),
        dated(23, "fairseq.data", "5 samples have invalid sizes and will be skipped", "WARNING"),
        dated(24, "fairseq_bas.resilience.resume", "a.pt is damaged; b.pt is used", "WARNING"),
        *(dated(25, "something", "unknown", "WARNING"), inner(30, 30, replica_std=0)),
        "Traceback (most recent call last):\n  File x, line 1\nRuntimeError: no more\n",
    )
    found = kinds(run)
    overflow = found["overflow"]
    assert (overflow.first, overflow.last, overflow.count) == (10, 20, 2)
    assert found["divergence"].first == found["damage"].first == found["warning"].first == 20
    assert found["error"].message == "RuntimeError: no more" and run.ending == "failed"
    assert found["copies"].first == 30 and "identical" in found["copies"].message
    skipped = [event.message for event in run.events if event.kind == "skipped sentences"]
    assert len(skipped) == 2 and skipped[0].startswith("left out 2 of 60")
    assert run.text.summary["noise"] == "seed 1, key fingerprint 8c0593cf"


def test_logs_of_several_processes_are_read_in_order(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "b.log").write_text(start() + inner(10, 10) + inner(20, 20) + valid(20, 20, 7))
    (folder / "a.log").write_text(start(100) + inner(110, 30) + valid(110, 30, 6))
    (folder / "worker1.log").write_text(start() + "nothing\n")
    (folder / "cpu.txt").write_text("1 2 3\n")
    run = load_run(str(folder))
    assert run.train["updates"].tolist() == [10, 20, 30]
    assert run.valid["loss"].tolist() == [7, 6]


def test_a_log_that_begins_later_counts_from_there(tmp_path):
    run = run_of(tmp_path, start(), inner(10, 1000, epoch=5), inner(20, 1010, epoch=5))
    assert "begins in epoch 5" in kinds(run)["log"].message
    assert run.train["tokens"].tolist() == [0, 500]


def test_losses_that_are_not_finite(tmp_path):
    run = run_of(tmp_path, start(), inner(10, 10, loss="nan"), inner(20, 20, loss="inf"))
    assert kinds(run)["not finite"].first == 10
    assert math.isnan(run.train["loss"][0]) and math.isinf(run.train["loss"][1])


def test_checkpoints_are_read_and_damage_is_told(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    state = {
        "cfg": {"common": {"seed": 7}},
        "optimizer_history": [{"num_updates": 40}],
        "extra_state": {"train_iterator": {"epoch": 3}, "best": 5.5},
    }
    torch.save(state, folder / "checkpoint_last.pt")
    whole = (folder / "checkpoint_last.pt").read_bytes()
    (folder / "checkpoint_best.pt").write_bytes(whole[: len(whole) // 2])
    run = run_of(tmp_path, inner(10, 10))
    last, best = run.checkpoints
    assert (last.updates, last.epoch, last.best, last.problem) == (40, 3, 5.5, None)
    assert run.flags == {"seed": 7}  # the log has none
    assert "incomplete or damaged" in best.problem
    assert kinds(run)["damage"].message == best.problem


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    folder = tmp_path / "run"
    folder.mkdir()
    torch.save({"model": Evil()}, folder / "checkpoint_last.pt")
    run = run_of(tmp_path, inner(10, 10))
    assert "holds code" in run.checkpoints[0].problem
    assert not (tmp_path / "made").exists()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        load_run(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="no log of training"):
        load_run(str(tmp_path))
    with pytest.raises(ValueError, match="no line of training"):
        run_of(tmp_path, start())
