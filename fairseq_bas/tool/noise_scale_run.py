"""Measure the noise scale at a checkpoint, on random sentences and on fairseq's own batches."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..measure.critical_batch import CriticalBatch, LengthPart, critical_batch, length_part
from .gradient_batches import MicroBatch, SentencePool
from .gradient_run import GradientRun, Measured, number_of_groups
from .gradient_setup import (
    GradientSetup,
    device_name,
    device_of,
    limits,
    read_checkpoint,
    run_batch,
)
from .progress import Progress


@dataclass(frozen=True)
class NoiseScaleResult:
    """Hold what was found for one checkpoint.

    Attributes:
        facts: of the checkpoint and of what was read.
        unit: what gradients are averaged over, ``target tokens`` or ``sentences``; variances are
            per unit, noise scales in units.
        tokens_per_unit: target tokens in a unit.
        sentences_per_unit: sentences in a unit.
        random: of random micro-batches, all repeats together.
        by_length: of micro-batches as fairseq makes them; None where sentences are all as long.
        repeats: of each repeat alone.
        run_batch: target tokens of an update of the run; None if it is not known.
        notes: sentences.
    """

    facts: dict[str, Any]
    unit: str
    tokens_per_unit: float
    sentences_per_unit: float
    random: CriticalBatch
    by_length: LengthPart | None
    repeats: list[CriticalBatch] = field(default_factory=list)
    run_batch: float | None = None
    notes: list[str] = field(default_factory=list)


def measure(args: argparse.Namespace, path: str) -> NoiseScaleResult:
    """Measure one checkpoint.

    Args:
        args: the arguments of ``fairseq-bas noise-scale``.
        path: the checkpoint.

    Raises:
        ValueError: if checkpoint, data or gradients are refused.
        UserError: for what training would refuse.
    """
    checkpoint, device = read_checkpoint(path), device_of(args.cpu)
    flags = checkpoint.flags.without_noise() if args.no_noise else checkpoint.flags
    setup = GradientSetup(checkpoint, args.data, args.split, 1, args.seed, device, flags)
    bounds = limits(checkpoint, args.max_tokens)
    pool = SentencePool(setup.task, setup.dataset, setup.model, *bounds, args.seed)
    kinds = 2 if pool.has_lengths else 1
    with Progress(path, "micro-batches", args.repeats * args.batches * kinds) as progress:
        gathering = _Gathering(args, GradientRun(setup, not args.no_noise), progress)
        measured, repeats = gathering.of(pool.random)
        random = critical_batch(measured.groups.moments().estimates())
        by_length = None
        if pool.has_lengths:
            bucketed, _ = gathering.of(pool.by_length)
            found = critical_batch(bucketed.groups.moments().estimates())
            by_length = length_part(random, found)
    return NoiseScaleResult(
        {
            **checkpoint.facts,
            "split": args.split,
            "unit_of_text": pool.unit,
            "available": pool.sentences,
            "micro_batches": args.repeats * args.batches,
            "max_tokens": pool.max_tokens,
            "noise": not args.no_noise,
            "seed": args.seed,
            "device": device_name(device),
            "parameters": setup.size,
            **gathering.facts(measured),
        },
        "sentences" if measured.weight == measured.sentences else "target tokens",
        measured.tokens / measured.weight,
        measured.sentences / measured.weight,
        random,
        by_length,
        repeats if args.repeats > 1 else [],
        run_batch(checkpoint, pool),
        setup.notes,
    )


class _Gathering:
    """Gather gradients of one kind of micro-batches after the other, each with keys of its own."""

    def __init__(self, args: argparse.Namespace, run: GradientRun, progress: Progress):
        self.args, self.run, self.progress = args, run, progress
        self.groups = number_of_groups(args.batches, run.setup.size)
        self._key = 0

    def of(
        self, draw: Callable[[int, Sequence[int]], list[MicroBatch]]
    ) -> tuple[Measured, list[CriticalBatch]]:
        """Return the gradients of all repeats together, and what each repeat tells alone."""
        parts = []
        for repeat in range(self.args.repeats):
            batches = draw(self.args.batches, (self.args.seed, repeat))
            parts.append(self.run.measure(batches, self.groups, self._key, self.progress))
            self._key += len(batches)
        single = [critical_batch(part.groups.moments().estimates()) for part in parts]
        for part in parts[1:]:
            parts[0].merge(part)
        return parts[0], single

    def facts(self, measured: Measured) -> dict[str, Any]:
        """Return how much was read."""
        count = self.args.repeats * self.args.batches
        return {
            "groups": self.groups,
            "sentences": measured.sentences,
            "tokens": measured.tokens,
            "tokens_per_micro_batch": measured.tokens / count,
            "seconds": measured.seconds,
        }
