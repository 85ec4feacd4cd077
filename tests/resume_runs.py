"""Runs that are killed and go on, for the tests of exact resumption."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tests.processes import run_cli, run_workers, start_workers


def train(workers: int, flags: tuple) -> str:
    """Train to the end on one worker or several; return the output of the first."""
    if workers == 1:
        return run_cli("fairseq_cli.train", *flags)
    return run_workers(workers, "fairseq_cli.train", *flags)[0]


def kill_after_update(workers: int, flags: tuple, update: int) -> str:
    """Start a run, kill all its processes with SIGKILL once ``update`` was logged.

    Returns:
        What the first worker had printed until then.
    """
    processes, printed = start_workers(workers, "fairseq_cli.train", *flags), []
    try:
        for line in processes[0].stdout:
            printed.append(line)
            if f'"num_updates": "{update}"' in line:
                break
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
    assert all(process.returncode == -9 for process in processes), "".join(printed)[-2000:]
    return "".join(printed)


def last_checkpoint(save_dir: Path) -> dict[str, Any]:
    """Return the newest checkpoint of a run."""
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=False)


def tensors(state: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor of a nested state with its path."""
    if torch.is_tensor(state):
        yield path, state
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from tensors(value, f"{path}/{key}")
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            yield from tensors(value, f"{path}/{index}")


def assert_bit_equal(one: dict[str, Any], other: dict[str, Any], *parts: str) -> None:
    """Compare every tensor in some parts of two checkpoints."""
    for part in parts:
        ours, theirs = dict(tensors(one[part])), dict(tensors(other[part]))
        assert ours.keys() == theirs.keys() and len(ours) > 0
        for path, tensor in ours.items():
            assert torch.equal(tensor, theirs[path]), f"{part}{path}"
