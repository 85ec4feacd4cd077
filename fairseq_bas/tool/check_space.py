"""Whether a run can write its checkpoints: rights, and space on the disk."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .check_findings import Finding, note, problem, warning
from .plan_memory import state_bytes
from .plan_run import Plan
from .plan_setup import PlannedSetup

_GIB = 2**30
_WHILE_WRITING = 2
"""Checkpoints there must be room for: one is written while the one before it is still there."""


def space_findings(setup: PlannedSetup, planned: Plan | None) -> Iterator[Finding]:
    """Judge the folder of the checkpoints.

    Args:
        setup: what the run is made of.
        planned: how it goes; None if that is not known.
    """
    checkpoint = setup.cfg.checkpoint
    if checkpoint.no_save:
        yield note("--no-save keeps nothing of the run")
        return
    folder = nearest_folder(checkpoint.save_dir)
    refusal = folder_problem(checkpoint.save_dir, folder)
    if refusal is not None:
        yield refusal
        return
    size = checkpoint_bytes(setup)
    epochs = max((c.end.epochs for c in planned.courses), default=0.0) if planned else 0.0
    updates = max((c.table.totals.updates for c in planned.courses), default=0) if planned else 0
    number = kept_checkpoints(setup.cfg, epochs, updates)
    yield from judge_space(folder, size, number, shutil.disk_usage(folder).free)


def nearest_folder(save_dir: str) -> Path:
    """Return the folder itself, or the nearest one above it that exists."""
    folder = Path(save_dir).resolve()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def folder_problem(save_dir: str, folder: Path) -> Finding | None:
    """Say why checkpoints cannot be written, None if they can.

    Args:
        save_dir: as given.
        folder: what `nearest_folder` returns.
    """
    if not folder.is_dir():
        return problem(f"--save-dir {save_dir}: {folder} is a file; name a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        return problem(
            f"--save-dir {save_dir}: {folder} cannot be written to; change its rights or name "
            "another folder"
        )
    return None


def judge_space(folder: Path, size: int, number: int, free: int) -> Iterator[Finding]:
    """Compare what checkpoints take with what there is.

    Args:
        folder: where they are written.
        size: of one, in bytes.
        number: that are kept at the end.
        free: bytes on the disk.

    >>> [found.level for found in judge_space(Path("runs"), 3, 10, 5)]
    ['problem']
    >>> [found.level for found in judge_space(Path("runs"), 3, 10, 20)]
    ['warning']
    """
    each = f"a checkpoint takes about {size / _GIB:.2f} GiB"
    if free < _WHILE_WRITING * size:
        yield problem(
            f"{each} and {folder} has {free / _GIB:.2f} GiB free, while one more is written before "
            "the old one goes; free some space, or name another --save-dir"
        )
    elif free < number * size:
        yield warning(
            f"{each}, and the {number:,} that the run keeps do not fit into the "
            f"{free / _GIB:.2f} GiB free in {folder}; pass --no-epoch-checkpoints, "
            "--keep-last-epochs or --keep-interval-updates"
        )


def checkpoint_bytes(setup: PlannedSetup) -> int:
    """Estimate the bytes of a checkpoint: the weights, and the state of the optimizer."""
    parts, _ = state_bytes(setup)
    names = ["parameters", "moving average"]
    if not setup.cfg.checkpoint.no_save_optimizer_state:
        names.append("optimizer state")
    return sum(parts.get(name, 0) for name in names)


def kept_checkpoints(cfg: Any, epochs: float, updates: int) -> int:
    """Return how many checkpoints are there at the end of a run.

    Args:
        cfg: fairseq's config.
        epochs: of the run.
        updates: of the run.
    """
    flags = cfg.checkpoint
    number = int(not flags.no_last_checkpoints) + int(not cfg.dataset.disable_validation)
    number += max(0, flags.keep_best_checkpoints)
    if not flags.no_epoch_checkpoints:
        made = int(epochs) // max(1, flags.save_interval)
        number += min(made, flags.keep_last_epochs) if flags.keep_last_epochs > 0 else made
    if flags.save_interval_updates > 0:
        made = updates // flags.save_interval_updates
        kept = flags.keep_interval_updates
        number += min(made, kept) if kept > 0 else made
    return number
