"""scripts/launch.sh on two machines, which are two launchers of this one; one worker is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT, free_port, run_cli, tiny_transformer
from tests.resume_runs import assert_bit_equal, last_checkpoint

pytestmark = pytest.mark.dist


def flags(toy, save_dir, placement):
    return (
        *tiny_transformer(toy, save_dir, task="bas_translation"),
        *("--dropout", 0.3, "--bas-replicas", 2, "--bas-placement", placement),
        *("--max-update", 60, "--no-epoch-checkpoints", "--disable-validation"),
        *("--save-interval-updates", 5, "--keep-interval-updates", 1),
    )


def start_machine(rank, port, command):
    environment = {**os.environ, "BAS_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    place = ["--machines", 2, "--rank-of-machine", rank, "--meet", f"127.0.0.1:{port}"]
    options = ["--workers", 1, "--cpu", "--restarts", 1, *place, "--wait", 120, "--", *command]
    return subprocess.Popen(
        ["bash", str(ROOT / "scripts/launch.sh"), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def worker_of(machine):
    found = subprocess.run(["pgrep", "-P", str(machine.pid)], capture_output=True, text=True)
    return int(found.stdout.split()[0])


def test_killed_worker_is_restarted_on_two_machines(toy, tmp_path):
    """The end is bit-equal to one process in two passes, which nobody killed."""
    run_cli("fairseq_cli.train", *flags(toy, tmp_path / "one", "passes"))
    port, command = free_port(), flags(toy, tmp_path / "two", "workers")
    machines = [start_machine(rank, port, command) for rank in range(2)]
    try:
        for line in machines[0].stdout:
            if '"num_updates": "12"' in line:
                break
        os.kill(worker_of(machines[1]), signal.SIGKILL)
        killed = time.monotonic()
        for line in machines[0].stdout:
            if "Loaded checkpoint" in line:
                break
        for line in machines[0].stdout:
            if " train_inner " in line:
                break
        seconds = time.monotonic() - killed
        machines[0].stdout.read()
        told = machines[1].communicate(timeout=120)[0]
        codes = [machine.wait(timeout=120) for machine in machines]
    finally:
        for machine in machines:
            machine.terminate()
    assert codes == [0, 0], told[-2000:]
    assert "all workers start again from the newest checkpoint, as worker 1 was ended by" in told
    assert seconds < 60  # 9 on an idle machine, most of it to import torch and fairseq
    one, two = (last_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert_bit_equal(one, two, "model", "last_optimizer_state")
