"""Print the table of scripts/bench/curvature.sh as Markdown: each diagnostic of each system.

Reports are in ``seedN/NAME.json``, written by the commands of fairseq-bas; a cell has one value for
each seed, in order.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import replica_table  # noqa: F401  (beside this file; makes the package importable)

from fairseq_bas.errors import refuse_with

Checkpoint = Mapping[str, Any]
NOTE = """Losses are nats a token, without dropout and label smoothing, on sentences of the training
text; the line's barrier is how far the loss rises above the straight line between its two ends."""


def main() -> None:
    """Print the table and a note."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reports", type=Path, required=True, help="folder of seed1, seed2, ...")
    parser.add_argument("--seeds", type=str.split, required=True, metavar='"1 2"')
    args = parser.parse_args()
    with refuse_with():
        table = table_of(args.reports, args.seeds)
    print(f"{table}\n\n{NOTE}")


def table_of(reports: Path, seeds: Sequence[str]) -> str:
    """Return the table.

    Args:
        reports: folder of the folders of the seeds.
        seeds: their numbers.

    Raises:
        ValueError: if a report is missing.
    """
    by_seed = [dict(rows_of(reports / f"seed{seed}")) for seed in seeds]
    systems = list(by_seed[0]["loss"])
    lines = [f"| | {' | '.join(systems)} |", f"|---|{'---|' * len(systems)}"]
    for name in by_seed[0]:
        cells = (", ".join(rows[name].get(system, "") for rows in by_seed) for system in systems)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rows_of(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each diagnostic of one seed and its value for each system, as text."""
    hessian = checkpoints_of(folder, "hessian")
    yield "loss", _each(hessian, lambda c: f"{c['measured_loss']:.3f}")
    for report, name in (("sharpness", "100 columns"), ("sharpness-full", "full space")):
        found = checkpoints_of(folder, report)
        for place, first in enumerate(next(iter(found.values()))["sharpness"]):
            epsilon = first["epsilon"]
            values = _each(found, lambda c, place=place: f"{c['sharpness'][place]['phi']:.3g}")
            yield f"phi, {name}, eps {epsilon:g}", values
    yield "top eigenvalue", _each(hessian, lambda c: f"{c['top']['values'][0]:.3g}")
    yield (
        "trace",
        _each(hessian, lambda c: f"{c['trace']['mean']:.3g} ± {c['trace']['standard_error']:.2g}"),
    )
    yield "gradient norm", _each(hessian, lambda c: f"{c['gradient_norm']:.3g}")
    yield "noise scale, tokens", _each(checkpoints_of(folder, "noise-scale"), _noise_scale)
    yield from lines_of(folder, list(hessian))


def lines_of(folder: Path, systems: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield distance and barrier between the first system and each other one."""
    distances, barriers = {}, {}
    for system in systems[1:]:
        [view] = read(folder, f"line-{system}")["views"]
        distances[system] = f"{view['distance']:.3g}"
        heights = (barrier(view["points"], split) for split in ("train", "valid"))
        barriers[system] = " / ".join(f"{height:.2f}" for height in heights)
    yield f"distance to {systems[0]}", distances
    yield f"barrier to {systems[0]}, train / valid", barriers


def barrier(points: Sequence[Mapping[str, Any]], split: str) -> float:
    """Return how far the loss rises above the straight line between the points 0 and 1, at most.

    Args:
        points: of a line, each with its place ``at`` and its ``loss`` by split.
        split: name of the split.

    >>> line = [(-1, 5), (0, 1), (0.5, 4), (1, 3), (2, 9)]
    >>> barrier([{"at": [at], "loss": {"valid": loss}} for at, loss in line], "valid")
    2.0
    """
    losses = {round(point["at"][0], 9): point["loss"][split] for point in points}
    first, last = losses[0], losses[1]
    return max(loss - (1 - at) * first - at * last for at, loss in losses.items() if 0 <= at <= 1)


def checkpoints_of(folder: Path, report: str) -> dict[str, Checkpoint]:
    """Return what a report says of each system, by the name of its run."""
    found = read(folder, report)["checkpoints"]
    return {Path(one["path"]).parent.name.rpartition("-seed")[0]: one for one in found}


def read(folder: Path, report: str) -> Any:
    """Return a report.

    Raises:
        ValueError: if it is not there.
    """
    path = folder / f"{report}.json"
    if not path.is_file():
        raise ValueError(f"{path} does not exist; run scripts/bench/curvature.sh again")
    return json.loads(path.read_text(encoding="utf-8"))


def _each(found: Mapping[str, Checkpoint], text: Callable[[Checkpoint], str]) -> dict[str, str]:
    return {system: text(checkpoint) for system, checkpoint in found.items()}


def _noise_scale(checkpoint: Checkpoint) -> str:
    scale = checkpoint["noise_scale_tokens"]
    ends = ("inf" if scale[end] is None else f"{scale[end]:.0f}" for end in ("low", "high"))
    value = "inf" if scale["value"] is None else f"{scale['value']:.0f}"
    return f"{value} ({' to '.join(ends)})"


if __name__ == "__main__":
    main()
