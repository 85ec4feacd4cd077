"""Print the table of scripts/bench/decentlam.sh as Markdown.

A run is a folder ``METHOD-seedN`` with ``train.log``, of ``fairseq-train --log-format json``.
"""

import argparse
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import replica_table  # noqa: F401  (beside this file; makes the package importable)

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.run_log import read_run_log

METHODS = ("allreduce", "decentlam", "dmsgd")
NOTE = """Losses are in bits a target token, on the validation set, with label smoothing, of the
average over workers. A difference is the mean over seeds of that to allreduce of the same seed,
with its standard error. Distance: root mean square of a weight's distance to the average over
workers, at the last checkpoint but one."""

_DISTANCE = re.compile(r'"bas_consensus": "([0-9.e+-]+)"')


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        last: loss of the last validation.
        lowest: lowest validation loss.
        distance: of workers to their average, NaN where there is none.
        minutes: spent in updates.
    """

    last: float
    lowest: float
    distance: float
    minutes: float


def main() -> None:
    """Print the table and a note."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=str.split, required=True, metavar='"1 2"')
    args = parser.parse_args()
    with refuse_with():
        runs = {
            method: [read_run(args.runs / f"{method}-seed{seed}") for seed in args.seeds]
            for method in METHODS
        }
    lines = [
        f"| {len(args.seeds)} seeds | valid loss, last | lowest to highest | lowest of a run | "
        "difference of last | distance | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [row(method, found, runs["allreduce"]) for method, found in runs.items()]
    print("\n".join([*lines, "", NOTE]))


def read_run(folder: Path) -> Run:
    """Read one run.

    Args:
        folder: of the run.

    Raises:
        ValueError: if there is no finished run.
    """
    if not (folder / "done").exists():
        raise ValueError(f"{folder} is missing or not finished; call decentlam.sh again")
    path = folder / "train.log"
    log = read_run_log(str(path))
    if not log.valid or log.best is None:
        raise ValueError(f"{path} has no validation; delete {folder} and call decentlam.sh again")
    distances = _DISTANCE.findall(path.read_text(encoding="utf-8", errors="replace"))
    distance = float(distances[-1]) if distances else math.nan
    return Run(log.valid[-1].loss, log.best.loss, distance, log.train_minutes)


def row(method: str, runs: Sequence[Run], base: Sequence[Run]) -> str:
    """Return the line of a method.

    Args:
        method: its name.
        runs: one a seed.
        base: of allreduce, for the same seeds.
    """
    last = [run.last for run in runs]
    differences = [run.last - other.last for run, other in zip(runs, base, strict=True)]
    difference = f"{statistics.mean(differences):+.3f}"
    if len(differences) > 1:
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        difference += f" +- {error:.3f}"
    distance = statistics.mean(run.distance for run in runs)
    cells = [
        method,
        f"{statistics.mean(last):.3f}",
        f"{min(last):.3f} to {max(last):.3f}",
        f"{statistics.mean(run.lowest for run in runs):.3f}",
        "" if runs is base else difference,
        "" if math.isnan(distance) else f"{distance:.2e}",
        f"{statistics.mean(run.minutes for run in runs):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
