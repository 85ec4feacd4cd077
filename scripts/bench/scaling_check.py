"""Compare predictions with training: 1, 2 and 4 processes, every placement, M = 1, 2 and 4.

Nothing of what is measured here went into the prediction, and the job that contention was fitted to
does not count. Processes train with the real task and trainer, gradients added up by gloo (nccl
between CUDA devices) after the last pass.
"""

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from scaling_job import Job
from scaling_model import Machine, update_seconds
from scaling_network import all_reduce_seconds
from scaling_together import all_reduce_time
from scaling_workers import Side, run_workers, worker_flags
from torch import distributed

PROCESSES = (1, 2, 4)
REPLICAS = (1, 2, 4)


def jobs_of(processes: int) -> list[Job]:
    """Return the jobs that are compared.

    >>> len(jobs_of(1)), len(jobs_of(4)), jobs_of(2)[-1]
    (5, 7, Job(workers=2, replicas=4, placement='workers'))
    """
    jobs = [Job(processes)]
    for placement in ("rows", "passes", "workers"):
        jobs += [Job(processes, copies, placement) for copies in REPLICAS[1:]]
    return [job for job in jobs if job.fits()]


def check(machine: Machine, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train, and return for each job what was predicted and measured.

    Times are in seconds; ratios, to the update without copies on as many processes, are medians of
    those of a round, which other work on the machine disturbs less.

    Args:
        machine: as measured here; the number of its workers is set to that of the processes.
        args: the command line's values; see ``scaling_workers.Side``, and ``rounds``, ``updates``.
    """
    rows = []
    for processes in PROCESSES:
        if not args.cpu and processes > torch.cuda.device_count():
            break
        args.gradient_bytes = machine.parts.gradient_bytes
        here = replace(machine, network=replace(machine.network, per_machine=processes))
        found = run_workers(processes, train_worker, args)
        base, first = found["updates"][0], update_seconds(here, jobs_of(processes)[0]).total
        for job, seconds in zip(jobs_of(processes), found["updates"], strict=True):
            update = update_seconds(here, job)
            ratios = [one / other for one, other in zip(seconds, base, strict=True)]
            row = _row(vars(job).copy(), update.total, seconds, vars(update))
            row["predicted_ratio"] = update.total / first
            row["measured_ratio"] = statistics.median(ratios)
            row["fitted"] = job == Job(machine.parts.contention_of) and processes > 1
            rows.append(row)
        if processes > 1:
            crowding = max(1.0, processes / machine.cores)
            size = machine.parts.gradient_bytes
            predicted = crowding * all_reduce_seconds(size, processes, here.network)
            alone = {"workers": processes, "replicas": 0, "placement": "all-reduce alone"}
            rows.append(_row(alone, predicted, [found["all_reduce"]], {}))
    return rows


def _row(
    job: Mapping[str, Any], predicted: float, seconds: list[float], parts: Mapping[str, float]
) -> dict[str, Any]:
    measured = statistics.median(seconds)
    return {
        **job,
        "predicted": predicted,
        "measured": measured,
        "least": min(seconds),
        "most": max(seconds),
        "error": predicted / measured - 1,
        "parts": dict(parts),
    }


def train_worker(rank: int, world: int, args: argparse.Namespace) -> dict[str, Any]:
    """Be one of the processes: train each job in turns, after one turn that does not count."""
    sides = [Side(args, *worker_flags(rank, world), *flags_of(job)) for job in jobs_of(world)]
    seconds: list[list[float]] = [[] for _ in sides]
    for turn in range(args.rounds + 1):
        for side, times in zip(sides, seconds, strict=True):
            distributed.barrier()
            taken = side.run(args.updates if turn else 2)
            if turn:
                times.append(taken)
    traffic = all_reduce_time(args.gradient_bytes, args) if world > 1 else 0.0
    return {"updates": seconds, "all_reduce": traffic}


def flags_of(job: Job) -> list[str]:
    """Return the flags of ``fairseq-train`` for a job.

    >>> flags_of(Job(2, 4, "workers"))
    ['--bas-replicas', '4', '--bas-placement', 'workers']
    """
    return ["--bas-replicas", str(job.replicas), "--bas-placement", job.placement]
