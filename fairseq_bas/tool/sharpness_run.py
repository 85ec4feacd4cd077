"""Measure the sharpness of checkpoints one after the other."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..measure.sharpness import Sharpness, SharpnessSettings, measure_sharpness
from ..measure.subspace import FullSpace, RandomSubspace, Space
from .model_surface import load_surface, require_same_text
from .progress import Progress


@dataclass(frozen=True)
class CheckpointSharpness:
    """Hold what was found for one checkpoint.

    Attributes:
        facts: of the checkpoint and the text.
        conventions: plain values, all that decides the number.
        values: one for each eps.
    """

    facts: dict[str, Any]
    conventions: dict[str, Any]
    values: Sequence[Sharpness]


def measure(args: argparse.Namespace, paths: Sequence[str]) -> list[CheckpointSharpness]:
    """Measure checkpoints.

    Args:
        args: the arguments of ``fairseq-bas sharpness``.
        paths: the checkpoints.

    Returns:
        The results, in the order of ``paths``.

    Raises:
        ValueError: if the input is refused.
    """
    settings = SharpnessSettings(args.box, args.iterations, args.starts, args.scaling, args.seed)
    results: list[CheckpointSharpness] = []
    for path in paths:
        loaded = load_surface(args, path)
        require_same_text([result.facts for result in results] + [loaded.facts])
        point = loaded.surface.point()
        space: Space = FullSpace(point)
        if not args.full:
            space = RandomSubspace(point, args.subspace, args.columns, args.seed)
        with Progress(f"sharpness of {path}", "evaluations") as progress:
            values = [
                measure_sharpness(loaded.surface, space, epsilon, settings, progress.step)
                for epsilon in args.epsilon
            ]
        conventions = {
            **vars(settings),
            "dimension": space.dimension,
            "columns": space.columns,
            "optimizer": "scipy L-BFGS-B",
        }
        results.append(CheckpointSharpness(loaded.facts, conventions, values))
    return results
