"""Several workers on the CPU by one command: same result, one message, no worker left behind."""

import os
import signal
import subprocess

import pytest

from tests.processes import json_log, run_cli, start_workers
from tests.toys import tiny_transformer
from tests.resume_runs import assert_bit_equal, last_checkpoint

pytestmark = pytest.mark.dist
TWO = ("--distributed-world-size", 2)


def flags(toy, save_dir, *extra):
    return (
        *tiny_transformer(toy, save_dir, task="bas_translation"),
        *("--max-update", 6, "--no-epoch-checkpoints", "--disable-validation", *extra),
    )


def test_one_flag_starts_two_workers(toy, tmp_path):
    """Two workers that hold a copy each do what one does in two passes, bit for bit."""
    copies = ("--dropout", 0.3, "--bas-replicas", 2, "--bas-placement")
    run_cli("fairseq_cli.train", *flags(toy, tmp_path / "one", *copies, "passes"))
    two = run_cli("fairseq_cli.train", *flags(toy, tmp_path / "two", *copies, "workers", *TWO))
    assert len(json_log(two, "train_inner")) == 6  # the second worker's log would double it
    assert "2 workers on the CPU: they talk by gloo" in two.stdout + two.stderr
    one, two = (last_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert_bit_equal(one, two, "model", "last_optimizer_state")


def test_two_workers_leave_out_the_same_updates(toy, tmp_path):
    """Where a gradient overflows, all have the same loss scale afterwards: that of one worker."""
    fp16 = ("--fp16", "--fp16-init-scale", 2**16, "--fp16-scale-window", 2, "--bas-replicas", 2)
    given = (*fp16, "--bas-placement")
    one = run_cli("fairseq_cli.train", *flags(toy, tmp_path / "one", *given, "passes"))
    two = run_cli("fairseq_cli.train", *flags(toy, tmp_path / "two", *given, "workers", *TWO))
    keys = ("num_updates", "loss_scale", "bas_overflows", "loss")
    logs = [[[e[key] for key in keys] for e in json_log(run, "train_inner")] for run in (one, two)]
    assert logs[0] == logs[1] and len({entry[1] for entry in logs[0]}) > 1
    states = [last_checkpoint(tmp_path / name)["last_optimizer_state"] for name in ("one", "two")]
    scalers = [state["bas_precision"]["scaler"] for state in states]
    assert scalers[0] == scalers[1] and scalers[0]["overflows"] > 0


def test_both_workers_refuse_and_one_tells(toy, tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes(b"PK\x03\x04 and no more")
    result = run_cli("fairseq_cli.train", *flags(toy, tmp_path, *TWO), check=False)
    assert result.returncode == 1
    assert result.stderr.count("checkpoint_last.pt is incomplete") == 1
    assert "Traceback" not in result.stderr


def test_frozen_worker_is_taken_for_lost(toy, tmp_path):
    """A machine that is cut off closes no connection; torch alone would wait for half an hour."""
    endless = flags(toy, tmp_path, "--max-update", 100000, "--bas-worker-timeout", 3)
    living, frozen = start_workers(2, "fairseq_cli.train", *endless)
    try:
        for line in living.stdout:
            if '"num_updates": "3"' in line:
                break
        os.kill(frozen._process.pid, signal.SIGSTOP)
        _, errors = living.communicate(timeout=60)
    finally:
        for worker in (living, frozen):
            worker.kill()
    assert living.returncode == 1
    assert "worker 0 lost its connection to another worker" in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_killed_worker_ends_the_other(toy, tmp_path):
    """The command says which was killed, and leaves no process behind."""
    from tests.forked import ForkedProcess

    endless = flags(toy, tmp_path, *TWO, "--max-update", 100000)
    command = ForkedProcess("fairseq_cli.train", [*map(str, endless)])
    try:
        for line in command.stdout:
            if '"num_updates": "3"' in line:
                break
        pid = command._process.pid
        workers = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
        workers = [int(worker) for worker in workers.stdout.split()]
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        _, errors = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 1
    assert "worker 1 was ended by SIGKILL" in errors.splitlines()[-1]
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
