"""Measure the variances between and within sentences at a checkpoint, for each kind of noise."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..measure.replica_variance import Choice, ReplicaVariance, choose, interpolated_costs
from .gradient_batches import MicroBatch, SentencePool
from .gradient_flags import RunFlags
from .gradient_run import GradientRun, number_of_groups, out_of_memory
from .gradient_setup import (
    Checkpoint,
    GradientSetup,
    device_name,
    device_of,
    limits,
    read_checkpoint,
    run_batch,
)
from .progress import Progress
from .replica_variance_settings import DROPOUT, RUN, NoiseSetting

TIMED_BATCHES = 4


@dataclass(frozen=True)
class NoiseResult:
    """Hold what was found for one kind of noise.

    Attributes:
        setting: the noise.
        found: its variances; per unit, as are noise scales.
        costs: M -> price of an update relative to M = 1.
        choice: the M that is worth its price.
        notes: sentences.
        seconds: that measuring took.
    """

    setting: NoiseSetting
    found: ReplicaVariance
    costs: dict[int, float]
    choice: Choice
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class CheckpointResult:
    """Hold what was found for one checkpoint.

    Attributes:
        facts: of the checkpoint and of what was read.
        unit: what gradients are averaged over, ``target tokens`` or ``sentences``.
        tokens_per_unit: target tokens in a unit.
        noises: one for each kind of noise.
        run_batch: target tokens of an update of the run; None if it is not known.
        notes: sentences.
    """

    facts: dict[str, Any]
    unit: str
    tokens_per_unit: float
    noises: list[NoiseResult]
    run_batch: float | None
    notes: list[str]


def measure(
    args: argparse.Namespace,
    path: str,
    settings: Sequence[NoiseSetting],
    replicas: Sequence[int],
    cost: str | dict[int, float],
) -> CheckpointResult:
    """Measure one checkpoint.

    Args:
        args: the arguments of ``fairseq-bas replica-variance``.
        path: the checkpoint.
        settings: kinds of noise that the user asked for.
        replicas: M to judge.
        cost: ``passes``, ``rows``, or prices.

    Raises:
        ValueError: if checkpoint, data, flags or gradients are refused.
        UserError: for what training would refuse.
    """
    checkpoint = read_checkpoint(path)
    own = [DROPOUT, RUN] if checkpoint.flags.has_noise() else [DROPOUT]
    every = [*own, *settings]
    flags = [flags_of(checkpoint, setting) for setting in every]
    bench = _Bench(args, checkpoint)
    for its_flags in flags[len(own) :]:
        bench.setup(its_flags, args.copies)  # what the user wrote is refused before the work
    noises = []
    with Progress(path, "micro-batches", len(every) * args.batches) as progress:
        for setting, its_flags in zip(every, flags, strict=True):
            costs = bench.costs(its_flags, cost, replicas)
            noises.append(bench.result(setting, its_flags, costs, progress))
    notes = [*checkpoint.flags.notes, *bench.notes]
    facts = {**checkpoint.facts, **bench.facts}
    batch = run_batch(checkpoint, bench.pool)
    return CheckpointResult(facts, bench.unit, bench.tokens_per_unit, noises, batch, notes)


def flags_of(checkpoint: Checkpoint, setting: NoiseSetting) -> RunFlags:
    """Return the flags of a run with one kind of noise.

    Args:
        checkpoint: of the run.
        setting: the noise.

    Raises:
        ValueError: if a flag cannot be changed.
    """
    if setting.flags is None:
        return checkpoint.flags
    plain = checkpoint.flags.without_noise()
    return plain.with_flags(setting.flags) if setting.flags else plain


class _Bench:
    """Measure one kind of noise after the other on the same micro-batches."""

    def __init__(self, args: argparse.Namespace, checkpoint: Checkpoint):
        self.args, self.checkpoint, self.device = args, checkpoint, device_of(args.cpu)
        plain = self.setup(flags_of(checkpoint, DROPOUT), 1)
        bounds = limits(checkpoint, args.max_tokens)
        self.pool = SentencePool(plain.task, plain.dataset, plain.model, *bounds, args.seed)
        self.batches: list[MicroBatch] = self.pool.random(args.batches, (args.seed, 0))
        self.groups = number_of_groups(args.batches, plain.size)
        self.unit, self.tokens_per_unit, self.notes = "target tokens", 1.0, list[str]()
        self.facts = {
            "split": args.split,
            "unit_of_text": self.pool.unit,
            "available": self.pool.sentences,
            "micro_batches": args.batches,
            "sentences": sum(batch.sentences for batch in self.batches),
            "groups": self.groups,
            "copies": args.copies,
            "max_tokens": self.pool.max_tokens,
            "seed": args.seed,
            "device": device_name(self.device),
            "parameters": plain.size,
        }

    def setup(self, flags: RunFlags, replicas: int, placement: str = "passes") -> GradientSetup:
        """Build what a run with one kind of noise is made of."""
        args = self.args
        return GradientSetup(
            self.checkpoint,
            args.data,
            args.split,
            replicas,
            args.seed,
            self.device,
            flags,
            placement,
        )

    def result(
        self,
        setting: NoiseSetting,
        flags: RunFlags,
        costs: dict[int, float],
        progress: Progress,
    ) -> NoiseResult:
        """Measure one kind of noise."""
        setup = self.setup(flags, self.args.copies)
        measured = GradientRun(setup).measure(self.batches, self.groups, progress=progress)
        found = ReplicaVariance(measured.groups.moments().estimates())
        if measured.weight == measured.sentences:
            self.unit = "sentences"
        self.tokens_per_unit = measured.tokens / measured.weight
        self.facts["tokens"] = measured.tokens
        choice = choose(found.correlation, costs)
        notes = _caveats(flags, self.args.copies)
        return NoiseResult(setting, found, costs, choice, notes, measured.seconds)

    def costs(
        self, flags: RunFlags, cost: str | dict[int, float], replicas: Sequence[int]
    ) -> dict[int, float]:
        """Return the price of each M."""
        if isinstance(cost, dict):
            return interpolated_costs(cost, replicas)
        if cost == "passes":
            return interpolated_costs({}, replicas)
        return interpolated_costs(self._timed(flags, replicas), replicas)

    def _timed(self, flags: RunFlags, replicas: Sequence[int]) -> dict[int, float]:
        """Time updates with M copies side by side, up to the M that memory holds."""
        batches, seconds = self.batches[:TIMED_BATCHES], dict[int, float]()
        for count in replicas:
            try:
                timed = GradientRun(self.setup(flags, count, "rows"), keeps_apart=False)
                seconds[count] = timed.seconds_of(batches)
            except RuntimeError as error:
                if not out_of_memory(error) or not seconds:
                    raise
                self.notes.append(
                    f"{count} copies side by side do not fit into memory; the price beyond "
                    f"{max(seconds)} is extrapolated"
                )
                break
        rising, most = dict[int, float](), 0.0
        for count, time in sorted(seconds.items()):
            most = max(most, time)  # what noise in the clock makes fall
            rising[count] = most / seconds[1]
        return rising


def _caveats(flags: RunFlags, copies: int) -> list[str]:
    """Return what makes the copies of a kind of noise other than independent draws."""
    if str(flags.get("bas_adversarial") or "none") != "none":
        return [
            f"adversarial copies are of another kind than the rest; numbers hold for M = {copies}, "
            "for other M by analogy"
        ]
    noises = [str(flags.get(f"bas_{side}_noise") or "") for side in ("source", "target")]
    if any("subword" in noise for noise in noises):
        return [
            "no two copies of a sentence have the same segmentation, so they are not quite "
            "independent draws"
        ]
    return []
