"""The checkpoint that a diverged run goes back to.

It becomes ``checkpoint_last.pt``, with the lower learning rate and the count of rollbacks put in.
From there on it is an ordinary resumption, in this process or in a later one, so a run that was
rolled back is bit for bit one that was started from that checkpoint at that learning rate.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils

from ..checkpoint import verify_checkpoint
from .learning_rate_factor import FACTOR

logger = logging.getLogger(__name__)

COMPANION = "divergence"
"""Name of the guard's state among the companions of the training iterator."""

LAST = "checkpoint_last.pt"


def newest_good(save_dir: Path, until: int, targets: list[int]) -> tuple[Path, int] | None:
    """Find the checkpoint to go back to.

    Args:
        save_dir: folder of the run's checkpoints.
        until: updates after which the weights were good the last time.
        targets: updates that the run was rolled back to so far; what it saved in between, later
            than them, is of a course that was given up.

    Returns:
        The file and its number of updates; None if there is none.
    """
    files = [(path.stat().st_mtime, path.name, path) for path in save_dir.glob("checkpoint*.pt")]
    for _, _, path in sorted(files, reverse=True):
        try:
            verify_checkpoint(path)
            state = _load(path, mmap=True)
        except (ValueError, RuntimeError, OSError) as error:
            logger.warning(f"{path} is passed over: {error}")
            continue
        updates = _updates(state)
        if updates is None or updates > until:
            continue
        since = targets[len(_guard_state(state).get("targets", [])) :]
        if all(updates <= target for target in since):
            return path, updates
    return None


def go_back(save_dir: Path, until: int, targets: list[int], factor: float) -> list[Any]:
    """Make the newest good checkpoint the last one.

    Args:
        save_dir: as of `newest_good`.
        until: as of `newest_good`.
        targets: as of `newest_good`.
        factor: as of `make_last`.

    Returns:
        Whether it was done; what was done, or why it was not.
    """
    found = newest_good(save_dir, until, targets)
    if found is None:
        return [False, f"{save_dir} holds no checkpoint from before that to go back to"]
    path, updates = found
    try:
        make_last(path, factor, {"targets": [*targets, updates]})
    except (OSError, RuntimeError) as error:
        return [False, f"the checkpoint to go back to could not be written ({error})"]
    return [True, f"going back to {path} of update {updates}, learning rate times {factor:g}"]


def make_last(path: Path, factor: float, guard_state: Mapping[str, Any]) -> None:
    """Write a checkpoint as ``checkpoint_last.pt``, changed for a rollback.

    Args:
        path: the checkpoint.
        factor: on the learning rate of its scheduler.
        guard_state: put over the guard's own state in it.

    Raises:
        OSError: if it cannot be written.
    """
    state = _load(path)
    state["optimizer_history"][-1]["lr_scheduler_state"][FACTOR] = factor
    companions = state["extra_state"]["train_iterator"].setdefault("bas_companions", {})
    companions[COMPANION] = {**companions.get(COMPANION, {}), **guard_state}
    checkpoint_utils.torch_persistent_save(state, str(path.parent / LAST))


def _load(path: Path, mmap: bool = False) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except RuntimeError:
        if not mmap:
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # in torch's old format


def _updates(state: Mapping[str, Any]) -> int | None:
    """Return the number of updates of a checkpoint that training can go on from."""
    history = state.get("optimizer_history")
    extra = state.get("extra_state") or {}
    if not history or "last_optimizer_state" not in state or "train_iterator" not in extra:
        return None
    return int(history[-1]["num_updates"])


def _guard_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    companions = state["extra_state"]["train_iterator"].get("bas_companions", {})
    return companions.get(COMPANION, {})
