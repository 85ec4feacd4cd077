"""Measure what several processes do together: an update without copies, and all-reduces by size."""

import argparse
import statistics
from typing import Any

import torch
from scaling_fit import fit_ring
from scaling_workers import Side, now, worker_flags
from torch import distributed

SIZES = (2**14, 2**17, 2**20, 2**22, 2**24)  # bytes of the all-reduces


def measure_together(rank: int, world: int, args: argparse.Namespace) -> dict[str, Any]:
    """Measure updates of workers that train together, then all-reduces."""
    side = Side(args, *worker_flags(rank, world))
    seconds = []
    for turn in range(args.rounds + 1):
        distributed.barrier()
        taken = side.run(args.updates if turn else 2)
        if turn:
            seconds.append(taken)
    times = [all_reduce_time(size, args) for size in SIZES]
    latency, bandwidth = fit_ring(SIZES, times, world)
    return {
        "together": statistics.median(seconds),
        "contention_of": world,
        "network": {
            "latency": latency,
            "bandwidth": bandwidth,
            "workers": world,
            "sizes": SIZES,
            "seconds": times,
        },
    }


def all_reduce_time(size: int, args: argparse.Namespace) -> float:
    """Return the median seconds of an all-reduce of ``size`` bytes among all processes."""
    tensor = torch.zeros(int(size) // 4, device="cpu" if args.cpu else "cuda")
    tries = []
    for _ in range(2 + max(5, min(50, 2**22 // int(size)))):
        start = now()
        distributed.all_reduce(tensor)
        tries.append(now() - start)
    return statistics.median(tries[2:])
