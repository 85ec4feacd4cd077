"""A checkpoint with several workers: the first one loads it and sends it to the others."""

import pytest
import torch

from tests.processes import free_port, json_log, run_cli, run_workers
from tests.toys import EVAL_BLEU, tiny_lstm, tiny_transformer

pytestmark = pytest.mark.dist


def test_two_workers_resume(toy, tmp_path):
    """Both workers go on from the checkpoint, and end where uninterrupted training ends.

    The LSTM scored by BLEU has all that needs the allow-list: a Namespace, NumPy arrays, and the
    config objects and placeholders that are sent to the second worker.
    """
    common = [*EVAL_BLEU, "--max-tokens", 60, "--max-update", 4]
    straight = [*tiny_lstm(toy, tmp_path / "straight"), *common, "--save-interval-updates", 3]
    run_workers(2, "fairseq_cli.train", *straight)
    middle = tmp_path / "straight" / "checkpoint_1_3.pt"
    resumed = [*tiny_lstm(toy, tmp_path / "resumed"), *common, "--restore-file", middle]
    results = run_workers(2, "fairseq_cli.train", *resumed)
    assert [line["num_updates"] for line in json_log(results[0], "train_inner")] == ["4"]
    expected, actual = (
        torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=False)["model"]
        for name in ("straight", "resumed")
    )
    for name, parameter in expected.items():
        assert torch.equal(parameter, actual[name]), name


def test_every_worker_refuses_a_damaged_checkpoint(toy, tmp_path):
    """A worker that waited for the copy would fail with an error of its own, or never end.

    They leave each other first: one that ends while it is still joined may make another abort.
    """
    (tmp_path / "checkpoint_last.pt").write_bytes(b"PK\x03\x04 and no more")
    flags = [*tiny_transformer(toy, tmp_path), "--max-epoch", 1]
    for result in run_workers(2, "tests.dist.train_and_tell", *flags, check=False):
        assert result.returncode == 1 and result.stdout.splitlines()[-1] == "apart"
        assert "Traceback" not in result.stderr
        assert "checkpoint_last.pt is incomplete" in result.stderr.splitlines()[-1]


def test_parent_of_spawned_workers_adds_no_traceback(toy, tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes(b"PK\x03\x04 and no more")
    join = [
        *("--distributed-world-size", 2, "--distributed-backend", "gloo"),
        *("--distributed-init-method", f"tcp://127.0.0.1:{free_port()}"),
        *("--ddp-backend", "legacy_ddp"),
    ]
    flags = [*tiny_transformer(toy, tmp_path), "--max-epoch", 1, *join]
    result = run_cli("tests.dist.spawn_train", *flags, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "checkpoint_last.pt is incomplete" in result.stderr
