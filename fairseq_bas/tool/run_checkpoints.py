"""What the checkpoints of a run tell, read by torch's safe loader without fairseq."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .run_flags import flags_of

NAMES = ("checkpoint_last.pt", "checkpoint_best.pt")


@dataclass(frozen=True)
class CheckpointFacts:
    """What is known of a checkpoint.

    Args:
        name: of the file.
        size: bytes.
        updates: after which it was saved; None if it cannot be told.
        epoch: in which.
        best: best validation score so far.
        digest: whether the file has the SHA-256 of its content, which then was checked.
        problem: why it was not read, in a sentence; None if it was.
        flags: of the run that saved it.
    """

    name: str
    size: int
    updates: int | None = None
    epoch: int | None = None
    best: float | None = None
    digest: bool = False
    problem: str | None = None
    flags: dict[str, Any] = field(default_factory=dict)


def read_checkpoints(folder: Path) -> list[CheckpointFacts]:
    """Read the last and the best checkpoint of a folder.

    Args:
        folder: ``--save-dir`` of a run.

    Returns:
        What they tell; empty if there is none. A damaged or unsafe file is told of, not raised.
    """
    return [_read(folder / name) for name in NAMES if (folder / name).is_file()]


def _read(path: Path) -> CheckpointFacts:
    """Read one file; torch is imported only now."""
    import torch

    from ..allowed_types import checkpoint_types
    from ..checkpoint import updates_of, verify_checkpoint
    from ..resilience.digest import matches_digest

    size = path.stat().st_size
    try:
        with _allowed(checkpoint_types()):
            verify_checkpoint(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        digest = matches_digest(path) is True
    except Exception as error:  # a damaged pickle may ask for anything
        problem = " ".join(str(error).split())[:300]
        return CheckpointFacts(path.name, size, updates_of(path), problem=problem)
    if not isinstance(state, Mapping):
        return CheckpointFacts(path.name, size, problem=f"{path.name} holds no run of fairseq")
    return CheckpointFacts(path.name, size, digest=digest, **_facts(state))


@contextmanager
def _allowed(types: list[Any]) -> Iterator[None]:
    """Put types on torch's allow-list for a while; torch's own context would take off others'."""
    from torch import serialization

    before = serialization.get_safe_globals()
    serialization.add_safe_globals(types)
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)


def _facts(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint of fairseq says of its run."""
    extra = state.get("extra_state")
    extra = extra if isinstance(extra, Mapping) else {}
    iterator = extra.get("train_iterator")
    history = state.get("optimizer_history")
    last = history[-1] if isinstance(history, list) and history else None
    updates = last.get("num_updates") if isinstance(last, Mapping) else None
    epoch = iterator.get("epoch") if isinstance(iterator, Mapping) else None
    best = extra.get("best")
    return {
        "updates": updates if isinstance(updates, int) else None,
        "epoch": epoch if isinstance(epoch, int) else None,
        "best": float(best) if isinstance(best, int | float) else None,
        "flags": flags_of(state.get("cfg") or state.get("args")),
    }


def _is_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"
