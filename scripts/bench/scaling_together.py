"""Measure what several processes do to each other: contention, and all-reduces by size."""

import argparse
import statistics
from typing import Any

import torch
from scaling_fit import fit_ring
from scaling_workers import Side, now
from torch import distributed

SIZES = (2**14, 2**17, 2**20, 2**22, 2**24)  # bytes of the all-reduces


def measure_together(rank: int, world: int, side: Side, args: argparse.Namespace) -> dict[str, Any]:
    """Measure contention, the processes training each for itself, then all-reduces."""
    ratios = []
    for turn in range(args.rounds + 1):
        distributed.barrier()
        alone = _same_update(side, args.updates) if rank == 0 else 0.0
        distributed.barrier()
        together = _same_update(side, args.updates)
        if turn > 0 and rank == 0:
            ratios.append(together / alone)
    times = [all_reduce_time(size, args) for size in SIZES]
    latency, bandwidth = fit_ring(SIZES, times, world)
    return {
        # Sharing a core is modelled apart from it.
        "contention": max(1.0, statistics.median(ratios or [1.0]) / max(1.0, world / args.cores)),
        "contention_of": world,
        "network": {
            "latency": latency,
            "bandwidth": bandwidth,
            "workers": world,
            "sizes": SIZES,
            "seconds": times,
        },
    }


def _same_update(side: Side, updates: int) -> float:
    """Train on one batch again and again, without loading and without others; return seconds."""
    if not hasattr(side, "same"):
        side.same = next(side.updates)  # type: ignore[attr-defined]
    start = now()
    for _ in range(updates):
        side.trainer.set_num_updates(1)
        side.trainer.train_step(side.same)  # type: ignore[attr-defined]
    return now() - start


def all_reduce_time(size: int, args: argparse.Namespace) -> float:
    """Return the median seconds of an all-reduce of ``size`` bytes among all processes."""
    tensor = torch.zeros(int(size) // 4, device="cpu" if args.cpu else "cuda")
    tries = []
    for _ in range(2 + max(5, min(50, 2**22 // int(size)))):
        start = now()
        distributed.all_reduce(tensor)
        tries.append(now() - start)
    return statistics.median(tries[2:])
