"""Half precision on the command line: several workers, and the last line of a diverged run."""

import pytest

from tests.processes import json_log, run_cli, run_workers
from tests.toys import tiny_transformer

UPDATES = 4


def log_of(result):
    keys = ("loss", "gnorm", "loss_scale", "bas_overflows")
    log = json_log(result, "train_inner")
    assert len(log) == UPDATES
    return [[float(entry[key]) for key in keys] for entry in log]


def test_copies_on_two_workers_train_as_in_one_process(toy, tmp_path):
    """Gloo adds gradients of half precision up."""
    flags = [
        *tiny_transformer(toy, tmp_path, task="bas_translation"),
        *("--dropout", 0, "--max-update", UPDATES, "--no-save", "--disable-validation"),
        *("--bas-replicas", 2, "--bas-target-noise", "mask=0.2"),
        *("--fp16", "--fp16-init-scale", 2**8),
    ]
    one = log_of(run_cli("fairseq_cli.train", *flags, "--bas-placement", "passes"))
    workers = run_workers(2, "fairseq_cli.train", *flags, "--bas-placement", "workers")
    for alone, shared in zip(one, log_of(workers[0]), strict=True):
        assert shared == pytest.approx(alone, rel=2e-3)


def test_a_diverged_run_says_so_in_its_last_line(toy, tmp_path):
    flags = tiny_transformer(toy, tmp_path, task="bas_translation")
    run = run_cli("fairseq_cli.train", *flags, "--lr", 1e30, "--clip-norm", 0, check=False)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("update 2: its gradient is not finite; its sentences are in ")
    assert "Traceback" not in run.stderr and "StopIteration" not in run.stderr
    assert "gradients are not finite of " in run.stdout + run.stderr
    assert (tmp_path / "crash.pt").exists()
