"""The file that says which batches a run read when it diverged.

``divergence-UPDATE.json`` in ``--save-dir``: the update, why it was reported and the averages of
the loss; then the latest updates, newest first, each with what every worker read: sentence ids,
rows and target tokens of each micro-batch and its own loss. Of the first sentences of the newest
update it has the text. Sentence i is line i + 1 of the text that was preprocessed.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist

from .recent_updates import RecentUpdates, plain

logger = logging.getLogger(__name__)

SHOWN = 3
"""Sentences of each micro-batch whose text is in the file."""

Text = dict[str, str]


def write_report(
    save_dir: str | os.PathLike[str],
    facts: Mapping[str, Any],
    recent: RecentUpdates,
    text_of: Callable[[int], Text],
    together: bool = True,
) -> Path | None:
    """Write the file; with several workers the first one does, all must call it.

    Args:
        save_dir: folder for it.
        facts: what the file begins with; its ``update`` is in the name.
        recent: of this worker.
        text_of: gives the text of a training sentence, by side.
        together: the other workers report the same update; else only this one's is written.

    Returns:
        Where it was written; None on the other workers, or if it could not be.
    """
    mine = [_micro_batches(update.micro_batches) for update in recent.updates]
    by_worker: list[Any] = [mine]
    rank = 0
    if together and dist.is_available() and dist.is_initialized():
        rank = dist.get_rank()
        by_worker = [None] * dist.get_world_size()
        dist.all_gather_object(by_worker, mine)
    if rank > 0:
        return None
    updates = []
    for index, update in enumerate(recent.updates):
        numbers = update.numbers()
        workers = [worker[index] for worker in by_worker]
        if numbers["loss"] is None:
            numbers["loss"] = _mean_loss(workers)
        updates.append({**numbers, "workers": workers})
    sentences = _texts(updates[-1]["workers"], text_of) if updates else {}
    report = {**facts, "sentences": sentences, "updates": updates[::-1]}
    return _write(Path(save_dir), int(facts["update"]), report)


def _micro_batches(batches: Any) -> list[dict[str, Any]]:
    return [batch.to_json() for batch in batches]


def _mean_loss(workers: list[list[dict[str, Any]]]) -> float | None:
    """Return nats per target token of an update, from its micro-batches."""
    batches = [batch for worker in workers for batch in worker if batch["loss"] is not None]
    tokens = sum(batch["target_tokens"] for batch in batches)
    if tokens == 0:
        return None
    total: float = sum(batch["loss"] * batch["target_tokens"] for batch in batches)
    return total / tokens


def _texts(workers: list[list[dict[str, Any]]], text_of: Callable[[int], Text]) -> dict[str, Text]:
    """Return the text of the first sentences of each micro-batch, by id."""
    shown = {i for worker in workers for batch in worker for i in batch["ids"][:SHOWN]}
    if any("window" in batch for worker in workers for batch in worker):
        return {}  # streams have no sentences
    return {str(i): text_of(i) for i in sorted(shown)}


def _write(folder: Path, update: int, report: dict[str, Any]) -> Path | None:
    """Write the report beside those of earlier attempts at the same update."""
    path, attempt = folder / f"divergence-{update}.json", 1
    while path.exists():
        attempt += 1
        path = folder / f"divergence-{update}-{attempt}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(_json(report), encoding="utf-8")
    except OSError as error:
        # The reason to stop or go back is worth more than its report.
        logger.warning(f"{path} could not be written: {error.strerror}")
        return None
    return path


def _json(report: dict[str, Any]) -> str:
    """Return JSON with a line for each fact, each sentence and each update."""
    entries = []
    for name, value in plain(report).items():
        text = json.dumps(value, ensure_ascii=False)
        if name == "updates":
            text = "[\n" + ",\n".join(f"  {json.dumps(update)}" for update in value) + "\n ]"
        elif name == "sentences" and value:
            text = json.dumps(value, ensure_ascii=False, indent=2)
        entries.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"
