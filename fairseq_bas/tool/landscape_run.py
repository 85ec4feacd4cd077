"""Measure what lies along lines and planes through checkpoints."""

import argparse
import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.models import FairseqEncoderDecoderModel
from torch import Tensor

from ..measure.directions import random_direction
from ..measure.landscape import Path, curve, evaluate_along, evenly, line, plane
from ..measure.loss_surface import LossSurface
from .landscape import BETWEEN_TWO, splits_of
from .landscape_bleu import BleuMeter
from .model_surface import LoadedSurface, load_surface, require_same_text
from .progress import Progress


@dataclass(frozen=True)
class View:
    """Hold what was measured around one checkpoint, or between two.

    Attributes:
        paths: the checkpoint at 0, and the one at 1 if there is one.
        values: of each point, name of a split -> its loss, and ``bleu``.
        facts: plain values: norms of the points and their distance.
    """

    paths: Sequence[str]
    values: Sequence[dict[str, float]]
    facts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Landscape:
    """Hold what the command reports.

    Attributes:
        kind: ``line``, ``curve``, ``slice`` or ``plane``.
        axis: coordinates along each axis.
        coordinates: of the points, in the order of the values; the first changes slowest.
        splits: names.
        checkpoints: facts of each, without those of the text.
        texts: split -> facts of the text.
        views: what was seen.
        bleu: how BLEU was computed; None if it was not.
        has_perplexity: whether exp(loss) is the perplexity.
    """

    kind: str
    axis: list[float]
    coordinates: list[tuple[float, ...]]
    splits: list[str]
    checkpoints: list[dict[str, Any]]
    texts: dict[str, dict[str, Any]]
    views: list[View]
    bleu: dict[str, Any] | None
    has_perplexity: bool


TEXT_FACTS = ("split", "sentences", "tokens", "subset")
"""Facts that belong to the text and not to the checkpoint."""


def measure(args: argparse.Namespace, paths: Sequence[str]) -> Landscape:
    """Measure a landscape.

    Args:
        args: the arguments of ``fairseq-bas landscape``, complete.
        paths: the checkpoints; two for ``line`` and ``curve``.

    Returns:
        What was found.

    Raises:
        ValueError: if the input is refused.
    """
    splits = splits_of(args.split)
    axis = evenly(args.first, args.last, args.points)
    coordinates = list(itertools.product(axis, repeat=2 if args.kind == "plane" else 1))
    seen = _Seen(args, splits, coordinates)
    if args.kind in BETWEEN_TWO:
        views = [seen.between(paths[0], paths[1])]
    else:
        views = [seen.around(path) for path in paths]
    return Landscape(
        args.kind,
        axis,
        coordinates,
        splits,
        [{k: v for k, v in facts.items() if k not in TEXT_FACTS} for facts in seen.facts],
        seen.texts,
        views,
        seen.bleu,
        args.loss == "nll",
    )


class _Seen:
    """Load checkpoints, look around, and remember the facts.

    Args:
        args: of the command.
        splits: names.
        coordinates: of the points.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        splits: Sequence[str],
        coordinates: Sequence[tuple[float, ...]],
    ):
        self.args, self.splits, self.coordinates = args, splits, coordinates
        self.facts: list[dict[str, Any]] = []
        self.texts: dict[str, dict[str, Any]] = {}
        self.bleu: dict[str, Any] | None = None

    def between(self, first: str, second: str) -> View:
        """Look along the way from one checkpoint to another."""
        end = self._load(second, self.splits[0])
        start = self._load(first, self.splits[0])
        self.facts.reverse()
        require_same_architecture(start, end)
        there = end.surface.point()
        del end  # its text and buffers are no longer needed
        here = start.surface.point()
        way = (line if self.args.kind == "line" else curve)(here, there)
        distance, norms = (there - here).norm(), (here.norm(), there.norm())
        facts = {"distance": distance, "norm_first": norms[0], "norm_second": norms[1]}
        return self._look(start, way, [first, second], facts)

    def around(self, path: str) -> View:
        """Look along random directions around a checkpoint."""
        loaded = self._load(path, self.splits[0])
        surface = loaded.surface
        point = surface.point()
        directions = [
            surface.flat(random_direction(surface.split(point), self.args.seed, number))
            for number in range(len(self.coordinates[0]))
        ]
        norms = {f"norm_direction_{n}": d.norm() for n, d in enumerate(directions, start=1)}
        return self._look(
            loaded, plane(point, *directions), [path], {"norm": point.norm(), **norms}
        )

    def _look(
        self, loaded: LoadedSurface, path: Path, paths: list[str], facts: dict[str, Tensor]
    ) -> View:
        measures = self._measures(loaded, paths[0])
        label = f"{self.args.kind} at {paths[0]}"
        with Progress(label, "points", len(self.coordinates)) as bar:
            values = []
            for value in evaluate_along(loaded.surface, path, self.coordinates, measures):
                values.append(value)
                bar.step()
        return View(paths, values, {name: float(value) for name, value in facts.items()})

    def _measures(self, loaded: LoadedSurface, path: str) -> dict[str, Callable[[], float]]:
        """Return what is to be measured at each point, all on one model."""
        surfaces = {self.splits[0]: loaded.surface}
        for split in self.splits[1:]:
            text = self._load(path, split, remember=False).surface
            model, loss_of = loaded.surface.model, loaded.surface.loss_of
            surfaces[split] = LossSurface(model, text.batches, loss_of, text.weight)
        measures = {split: surface.loss for split, surface in surfaces.items()}
        if self.args.bleu:
            meter = self._bleu_meter(loaded, surfaces[self.splits[-1]])
            self.bleu = {"split": self.splits[-1], **meter.facts()}
            measures["bleu"] = meter
        return measures

    def _bleu_meter(self, loaded: LoadedSurface, surface: LossSurface) -> BleuMeter:
        if not isinstance(surface.model, FairseqEncoderDecoderModel):
            raise ValueError(
                f"--bleu: {loaded.facts['path']} is no translation model; leave --bleu out"
            )
        args = self.args
        return BleuMeter(
            *(loaded.task, surface.model, surface.batches),
            *(args.beam or 1, args.remove_bpe, args.tokenizer),
        )

    def _load(self, path: str, split: str, remember: bool = True) -> LoadedSurface:
        args = copy.copy(self.args)
        args.split = split
        loaded = load_surface(args, path)
        text = {name: loaded.facts[name] for name in TEXT_FACTS}
        known = self.texts.setdefault(split, {**text, "path": path})
        require_same_text([known, loaded.facts])
        if remember:
            self.facts.append(loaded.facts)
        return loaded


def require_same_architecture(first: LoadedSurface, second: LoadedSurface) -> None:
    """Refuse two checkpoints between which there is no line.

    Args:
        first: at 0.
        second: at 1.

    Raises:
        ValueError: if parameters differ in name or shape, or what is not trained in value.
    """
    both = f"{first.facts['path']} and {second.facts['path']}"
    one, other = (
        dict(zip(loaded.surface.names, loaded.surface.shapes, strict=True))
        for loaded in (first, second)
    )
    for name in [*one, *other]:
        shapes = [tuple(shapes[name]) if name in shapes else None for shapes in (one, other)]
        if shapes[0] != shapes[1]:
            described = ["none" if shape is None else str(shape) for shape in shapes]
            raise ValueError(
                f"no line joins {both}: {name} is {described[0]} in the first and {described[1]} "
                "in the second; pass two checkpoints of the same architecture"
            )
    for name, value in _untrained(first.surface).items():
        if not torch.equal(value, _untrained(second.surface).get(name, value)):
            raise ValueError(
                f"no line joins {both}: {name} differs, which is not trained; pass two checkpoints "
                "that agree in it"
            )


def _untrained(surface: LossSurface) -> dict[str, Tensor]:
    """Return buffers and frozen parameters."""
    trained = {parameter.data_ptr() for parameter in surface.parameters}
    state = surface.model.state_dict()
    return {name: value for name, value in state.items() if value.data_ptr() not in trained}


def perplexity(loss: float) -> float:
    """Return exp(loss), infinity where that is too large.

    >>> perplexity(0.0), perplexity(1e4)
    (1.0, inf)
    """
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
