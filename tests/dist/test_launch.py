"""scripts/launch.sh on two machines, which are two launchers of this one; one worker is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.processes import ROOT, free_port, run_cli
from tests.toys import tiny_transformer
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


def read_until(machine, sign):
    """Return what a machine says up to the line with the sign, or all of it if there is none."""
    lines = []
    for line in machine.stdout:
        lines.append(line)
        if sign in line:
            break
    return "".join(lines)


def test_killed_worker_is_restarted_on_two_machines(toy, tmp_path):
    """The end is bit-equal to one process in two passes, which nobody killed."""
    run_cli("fairseq_cli.train", *flags(toy, tmp_path / "one", "passes"))
    port, command = free_port(), flags(toy, tmp_path / "two", "workers")
    machines = [start_machine(rank, port, command) for rank in range(2)]
    try:
        before = read_until(machines[0], '"num_updates": "12"')
        os.kill(worker_of(machines[1]), signal.SIGKILL)
        killed = time.monotonic()
        after = read_until(machines[0], "Loaded checkpoint") + read_until(machines[0], " train_inner ")
        seconds = time.monotonic() - killed
        after += machines[0].stdout.read()
        told = machines[1].communicate(timeout=120)[0]
        codes = [machine.wait(timeout=120) for machine in machines]
    finally:
        for machine in machines:
            machine.terminate()
    assert codes == [0, 0], f"first machine:\n{before}\n{after}\nsecond machine:\n{told}"
    assert "all workers start again from the newest checkpoint, as worker 1 was ended by" in told
    # 9 on an idle machine, most of it to import torch and fairseq; 20 more if it dies just before
    # the first worker saves, which then waits for a sign of life.
    assert seconds < 60
    one, two = (last_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert_bit_equal(one, two, "model", "last_optimizer_state")


SLOW_TO_END = """
import os, pathlib, signal, sys, time

started = pathlib.Path(sys.argv[1], "started" + os.environ["RANK"])
if not started.exists():
    signal.signal(signal.SIGTERM, lambda *_: None)
    started.touch()
    end = time.monotonic() + (60 if os.environ["RANK"] == "1" else 8)
    while time.monotonic() < end:
        time.sleep(0.1)
    sys.exit(1)
"""


def start_launcher(rank, port, folder):
    place = ["--machines", 2, "--rank-of-machine", rank, "--meet", f"127.0.0.1:{port}"]
    options = ["--workers", 1, "--restarts", 1, "--wait", 60, "--timeout", 3]
    command = ["--", sys.executable, "-c", SLOW_TO_END, folder]
    return subprocess.Popen(
        [sys.executable, "-m", "fairseq_bas.resilience.launcher"]
        + [str(word) for word in [*place, *options, *command]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def test_a_worker_that_takes_longer_to_end_than_workers_may_be_late_is_waited_for(tmp_path):
    """As one does that waits for a sign of life of the killed one."""
    port = free_port()
    machines = [start_launcher(rank, port, tmp_path) for rank in range(2)]
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(worker_of(machines[1]), signal.SIGKILL)
        told = [machine.communicate(timeout=60)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(told)
    assert "as another machine does" in told[0]
