"""Predictions over workers, copies and placements: time of an update, time and text to quality."""

from collections.abc import Sequence
from typing import Any

from scaling_job import PLACEMENTS, Job
from scaling_model import Machine, update_seconds
from scaling_quality import break_even, effective_batch, updates_needed


def jobs(workers: Sequence[int], replicas: Sequence[int]) -> list[Job]:
    """Return every job that can be; one without copies for each number of workers.

    >>> [(job.placement, job.workers) for job in jobs([1, 2], [1, 2])][:4]
    [('rows', 1), ('rows', 2), ('rows', 1), ('rows', 2)]
    >>> [job.workers for job in jobs([1, 2, 4], [2]) if job.placement == "workers"]
    [2, 4]
    """
    every = [Job(w, 1) for w in workers if 1 in replicas]
    every += [
        Job(w, m, placement) for placement in PLACEMENTS for m in replicas if m > 1 for w in workers
    ]
    return [job for job in every if job.fits()]


def predict(
    machine: Machine, job: Job, tokens: float, correlation: float, critical: Sequence[float]
) -> dict[str, Any]:
    """Return what is predicted for a job, plain values.

    Args:
        machine: parts, network, sizes of batches.
        job: workers, copies and where they run.
        tokens: target tokens of a micro-batch.
        correlation: rho of the gradients of copies.
        critical: critical batches, target tokens.

    Returns:
        The job, ``update`` (s) and its ``parts``, ``batch`` (distinct target tokens),
        ``effective`` batch, and for each critical batch ``quality`` (s) and ``text`` (distinct
        target tokens), both for S_min = 1.
    """
    update = update_seconds(machine, job)
    batch = job.distinct * tokens
    copies = 1 if job.placement == "distinct" else job.replicas
    effective = effective_batch(batch, copies, correlation)
    needed = [updates_needed(effective, one) for one in critical]
    return {
        **vars(job),
        "update": update.total,
        "parts": vars(update),
        "batch": batch,
        "effective": effective,
        "quality": [update.total * updates for updates in needed],
        "text": [batch * updates for updates in needed],
    }


def compare_with_text(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare copies with more distinct sentences on as many workers with as many rows.

    The other side is ``distinct``: no copies, micro-batches as much larger as a worker has copies;
    where each worker has one copy, that is M = 1 on all workers.

    Args:
        rows: what ``predict`` gave.

    Returns:
        For each job with copies ``time`` and ``effective``, its update and effective batch over
        those of the other side, ``wins``, the critical batches for which it is the faster one to
        quality (least, most), and ``other_batch``, that of the other side, in target tokens.
    """
    found = {(row["placement"], row["workers"], row["replicas"]): row for row in rows}
    compared = []
    for (placement, workers, copies), row in found.items():
        each_has = copies // Job(workers, copies, placement).sharing
        other = found.get(("rows" if each_has == 1 else "distinct", workers, each_has))
        if copies == 1 or placement == "distinct" or other is None:
            continue
        ours, theirs = [(each["update"], each["effective"]) for each in (row, other)]
        compared.append(
            {
                "workers": workers,
                "replicas": copies,
                "placement": placement,
                "time": ours[0] / theirs[0],
                "effective": ours[1] / theirs[1],
                "wins": break_even(*ours, *theirs),
                "other_batch": theirs[1],
            }
        )
    return compared
