"""Measure the parts of an update that a process does without others.

Parts are timed each on their own: calls of the task on batches of chosen sizes, not the training
that ``scaling_check`` compares predictions with, but for the one number of ``scaling_together``.
"""

import argparse
import random
import statistics
from collections.abc import Callable
from typing import Any

import torch
from scaling_fit import PassTime, fit_costs, fit_passes, relative_errors
from scaling_together import measure_together
from scaling_workers import Side, now, run_workers, worker_flags
from torch import distributed

MOST = 8  # copies in a measured micro-batch
COPIES = (1, 2, 4, MOST)
FRACTIONS = (4, 2, 1)  # of the batches of the data set, each also halved and quartered
BATCHES = 3
ALONE = {"contention": 1.0, "contention_of": 1, "network": None}  # where there is one device
QUANTILES = 1000  # of the sizes of batches that are kept


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return parts and what they were fitted to, times in seconds, as plain values for JSON.

    Args:
        args: the command line's values; see ``scaling_workers.Side``, and ``rounds``.
    """
    world = 2 if args.cpu else min(2, torch.cuda.device_count())
    return {**ALONE, **run_workers(world, measure_worker, args)}


def measure_worker(rank: int, world: int, args: argparse.Namespace) -> dict[str, Any]:
    """Be one of the processes: the first measures alone, then all of them at once."""
    found: dict[str, Any] = {}
    if rank == 0:
        found = measure_alone(Side(args, *worker_flags(0, 1), "--bas-replicas", _schedule()), args)
    distributed.barrier()
    if world > 1:
        found |= measure_together(rank, world, args)
    return found


def _schedule() -> str:
    """Return a schedule of M by which the number of an update chooses how many copies it has."""
    return ",".join(f"{copies}@{number}u" for number, copies in enumerate(COPIES))


def measure_alone(side: Side, args: argparse.Namespace) -> dict[str, Any]:
    """Measure what a process does without others."""
    positions, tokens = side.shapes()
    samples = chosen_samples(side, positions)
    passes = pass_times(side, samples, args)
    costs = fit_passes(passes)
    errors = sorted(map(abs, relative_errors(passes, costs)))
    found = update_times(side, args.updates)
    parameters = sum(p.numel() for p in side.trainer.model.parameters())
    element = next(side.trainer.model.parameters()).element_size()
    ordered = sorted(positions)
    kept = [ordered[int(q * len(ordered) / QUANTILES)] for q in range(QUANTILES)]
    return {
        **dict(zip(("micro_batch", "pass_fixed", "token"), costs, strict=True)),
        **found,
        "transfer": transfer_times(side, samples),
        "flatten": flatten_seconds(side),
        "gradient_bytes": parameters * element,
        "positions": kept if len(ordered) > QUANTILES else ordered,
        "tokens": statistics.mean(tokens),
        "fit": {
            "passes": [vars(t) for t in passes],
            "median_error": statistics.median(errors),
            "greatest_error": errors[-1],
        },
    }


def chosen_samples(side: Side, positions: list[int]) -> list[dict[str, Any]]:
    """Return collated batches of several sizes; only the first copies of what the task yields."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    dataset, batches = side.task.dataset("train"), side.epochs.frozen_batches
    samples = []
    for place in range(BATCHES):
        batch = batches[order[(2 * place + 1) * len(order) // (2 * BATCHES)]]
        for fraction in FRACTIONS:
            part = batch[: max(1, len(batch) // fraction)]
            samples.append(dataset.collater([dataset[i] for i in part]))
    return samples


def pass_times(
    side: Side, samples: list[dict[str, Any]], args: argparse.Namespace
) -> list[PassTime]:
    """Time forward and backward of micro-batches with copies in rows and in passes.

    Every point is measured once a round, in an order drawn anew; its time is the median.
    """
    apart = Side(args, *worker_flags(0, 1), "--bas-replicas", _schedule(), "--bas-placement=passes")
    points = [(side, 1, r, n) for r in range(len(COPIES)) for n in range(len(samples))]
    points += [(apart, COPIES[r], r, n) for r in range(1, len(COPIES)) for n in range(len(samples))]
    seconds: dict[int, list[float]] = {number: [] for number in range(len(points))}
    generator = random.Random(1)
    for one in (side, apart):
        one.run(2)  # warm up
    for _ in range(args.rounds):
        for number in generator.sample(range(len(points)), len(points)):
            one, _, update, sample = points[number]
            seconds[number].append(step_seconds(one, samples[sample], update))
    return [
        PassTime(
            passes,
            COPIES[update] // passes,
            size_of(samples[sample]),
            statistics.median(seconds[number]),
        )
        for number, (_, passes, update, sample) in enumerate(points)
    ]


def size_of(sample: dict[str, Any]) -> int:
    """Return the padded positions of a micro-batch, source and target."""
    return sample["net_input"]["src_tokens"].numel() + sample["target"].numel()


def step_seconds(side: Side, sample: dict[str, Any], update: int) -> float:
    """Time forward and backward of a micro-batch, M being that of the update's number."""
    trainer = side.trainer
    sample, _ = trainer._prepare_sample(sample)
    trainer.zero_grad()
    start = now()
    side.task.train_step(sample, trainer.model, trainer.criterion, trainer.optimizer, update)
    return now() - start


def update_times(side: Side, updates: int) -> dict[str, Any]:
    """Time the loader, the optimizer's step and the rest of real updates with one copy."""
    inside: dict[str, float] = {}
    clocked = {name: _clocked(side.task, name, inside) for name in ("train_step", "optimizer_step")}
    loads, sizes, optimizers, rests = [], [], [], []
    try:
        for _ in range(updates):
            start = now()
            samples = next(side.updates)
            loads.append(now() - start)
            sizes.append(size_of(samples[0]))
            side.trainer.set_num_updates(0)  # which is the update with one copy
            start = now()
            side.trainer.train_step(samples)
            rests.append(now() - start - sum(inside.values()))
            optimizers.append(inside["optimizer_step"])
    finally:
        for name in clocked:
            delattr(side.task, name)
    skip = max(1, updates // 8)  # warm up
    fixed, per_position = fit_costs(
        [[1.0] * len(loads[skip:]), [float(size) for size in sizes[skip:]]], loads[skip:]
    )
    return {
        "collate": [fixed, per_position],
        "optimizer": statistics.median(optimizers[skip:]),
        "update": statistics.median(rests[skip:]),
    }


def _clocked(task: Any, name: str, inside: dict[str, float]) -> Callable[..., Any]:
    """Let a method of the task write down how long it took."""
    method = getattr(task, name)

    def clocked(*args: Any, **kwargs: Any) -> Any:
        start = now()
        result = method(*args, **kwargs)
        inside[name] = now() - start
        return result

    setattr(task, name, clocked)
    return clocked


def transfer_times(side: Side, samples: list[dict[str, Any]]) -> list[float]:
    """Return the fixed and per-position seconds of bringing a micro-batch to the device."""
    if not side.trainer.cuda:
        return [0.0, 0.0]
    from fairseq import utils

    seconds = []
    for sample in samples:
        tries = []
        for _ in range(5):
            start = now()
            utils.move_to_cuda(sample)
            tries.append(now() - start)
        seconds.append(statistics.median(tries))
    return fit_costs([[1.0] * len(samples), [float(size_of(s)) for s in samples]], seconds)


def flatten_seconds(side: Side) -> float:
    """Time bringing the gradient into one buffer, scaling it, and bringing it back."""
    gradients = [torch.randn_like(p) for p in side.trainer.model.parameters()]
    buffer = torch.cat([gradient.flatten() for gradient in gradients])
    tries = []
    for _ in range(7):
        start = now()
        parts = buffer.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            part.copy_(gradient.flatten())
        buffer.div_(2)
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        tries.append(now() - start)
    return statistics.median(tries)
