"""A run that is told to stop ends on all workers after the same update, and goes on exactly."""

import os
import signal
import subprocess
import sys

import pytest

from tests.processes import ROOT, free_port, json_log, start_workers
from tests.toys import tiny_transformer
from tests.resume_runs import assert_bit_equal, last_checkpoint, train

pytestmark = pytest.mark.dist
UPDATES = 30
COMMON = (
    *("--dropout", 0.2, "--bas-replicas", 2, "--bas-source-noise", "drop=0.1,shuffle=2"),
    *("--batch-size", 6, "--save-interval", 1000, "--no-epoch-checkpoints", "--no-last-checkpoints"),
    *("--validate-interval", 1000, "--patience", 5),
)


def interrupt(processes, to, number, update):
    """Send one process a signal after an update of the first; return what all printed."""
    printed = []
    for line in processes[0].stdout:
        printed.append(line)
        if f'"num_updates": "{update}"' in line:
            os.kill(getattr(to, "pid", None) or to._process.pid, number)
            break
    texts = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        texts.append(out + err)
    texts[0] = "".join(printed) + texts[0]
    return texts


def saved_updates(save_dir):
    return last_checkpoint(save_dir)["optimizer_history"][-1]["num_updates"]


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_runs_end_alike_and_go_on_exactly(toy, tmp_path, workers):
    """SIGTERM for the first start, SIGUSR1, to another worker, for the second, then to the end.

    Nothing else of the runs saves or validates before their end, so that the checkpoints are those
    of the interruptions.
    """

    def flags(name):
        model = tiny_transformer(toy, tmp_path / name, task="bas_translation")
        return (*model, *COMMON, "--max-update", UPDATES)

    before = 0
    for number, update in ((signal.SIGTERM, 4), (signal.SIGUSR1, 14)):
        processes = start_workers(workers, "fairseq_cli.train", *flags("stopped"))
        to = processes[0 if number == signal.SIGTERM else -1]
        texts = interrupt(processes, to, number, update)
        assert [process.returncode for process in processes] == [75] * workers, texts[0][-2000:]
        assert not any("Traceback" in text for text in texts)
        assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["checkpoint_last.pt"]
        stopped = saved_updates(tmp_path / "stopped")
        assert before < update <= stopped < UPDATES
        assert f"interrupted by {number.name}: saved after update {stopped};" in texts[0]
        assert texts[0].count("| Saved checkpoint") == 1 and "begin validation" not in texts[0]
        before = stopped
    all_saved = [item for item in flags("stopped") if item != "--no-last-checkpoints"]
    resumed = train(workers, tuple(all_saved))
    assert int(json_log(resumed, "train_inner")[0]["num_updates"]) == before + 1
    train(workers, tuple(item for item in flags("whole") if item != "--no-last-checkpoints"))
    whole, stopped = (last_checkpoint(tmp_path / name) for name in ("whole", "stopped"))
    assert_bit_equal(whole, stopped, "model", "last_optimizer_state")


SPAWN = ("--distributed-world-size", 2, "--distributed-backend", "gloo", "--ddp-backend")


@pytest.mark.slow
def test_parent_of_spawned_workers_passes_the_signal_on(toy, tmp_path):
    join = [*SPAWN, "legacy_ddp", "--distributed-init-method", f"tcp://127.0.0.1:{free_port()}"]
    model = tiny_transformer(toy, tmp_path, task="bas_translation")
    flags = [*model, *COMMON, "--max-update", 3000, *join]
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.dist.spawn_train", *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # where spawned workers log
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    printed = []
    for line in parent.stdout:
        printed.append(line)
        if '"num_updates": "4"' in line:
            parent.terminate()
    assert parent.wait() == 75, "".join(printed[-50:])
    assert "Traceback" not in "".join(printed)
    assert saved_updates(tmp_path) >= 4
