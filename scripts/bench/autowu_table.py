"""Print the table of scripts/bench/autowu.sh as Markdown, for each seed: losses and learning rates.

A run is a folder ``lrX-seedN`` or ``autowu-seedN`` with ``train.log``, of ``fairseq-train
--log-format json``; it has a file ``diverged`` if fairseq gave it up.
"""

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import replica_table  # noqa: F401  (beside this file; makes the package importable)

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.run_log import read_run_log

NOTE = """Losses are in bits a target token, on the validation set, with label smoothing. The lowest
one, that of the best checkpoint, decides which learning rate of the grid is the best."""

_SWITCH = re.compile(r"automatic warm-up ends: (.*); update ([0-9]+), lr ([0-9.e+-]+),")


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        lr: its largest learning rate, or the one that automatic warm-up found.
        lowest: lowest validation loss, infinite if the run diverged before the first one.
        last: loss of the last validation, infinite if the run diverged.
        remark: how the warm-up ended, or that the run diverged.
    """

    lr: float
    lowest: float
    last: float
    remark: str = ""


def main() -> None:
    """Print a table for each seed, and a note."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--lrs", type=str.split, required=True, metavar='"1e-4 1e-3"')
    parser.add_argument("--seeds", type=str.split, required=True, metavar='"1 2"')
    args = parser.parse_args()
    with refuse_with():
        tables = [seed_table(args.runs, args.lrs, seed) for seed in args.seeds]
    print("\n\n".join([*tables, NOTE]))


def seed_table(runs: Path, lrs: Sequence[str], seed: str) -> str:
    """Return the table of one seed.

    Raises:
        ValueError: if a run is missing or not finished.
    """
    grid = {f"lr {lr}": read_run(runs / f"lr{lr}-seed{seed}", float(lr)) for lr in lrs}
    found = read_run(runs / f"autowu-seed{seed}", None)
    best = min(grid.values(), key=lambda run: run.lowest)
    lines = [
        f"| seed {seed} | lr | valid loss, lowest | last | lr / best of grid | |",
        "|---|---|---|---|---|---|",
    ]
    runs_of_table: Mapping[str, Run] = {**grid, "bas_autowu": found}
    for name, run in runs_of_table.items():
        remark = "best of grid" if run is best else run.remark
        lines.append(
            f"| {name} | {run.lr:.3g} | {run.lowest:.3f} | {run.last:.3f} "
            f"| {run.lr / best.lr:.2f} | {remark} |"
        )
    return "\n".join(lines)


def read_run(folder: Path, lr: float | None) -> Run:
    """Read one run.

    Args:
        folder: of the run.
        lr: its largest learning rate; None to take what the log says that automatic warm-up found.

    Raises:
        ValueError: if there is no finished run.
    """
    diverged = (folder / "diverged").exists()
    if not diverged and not (folder / "done").exists():
        raise ValueError(f"{folder} is missing or not finished; call autowu.sh again")
    remark = "diverged" if diverged else ""
    if lr is None:
        text = (folder / "train.log").read_text(encoding="utf-8", errors="replace")
        switch = _SWITCH.search(text)
        if switch:
            ended = f"{switch[1]} at update {switch[2]}"
            lr, remark = float(switch[3]), f"{ended}; {remark}" if remark else ended
        elif diverged:
            lr, remark = math.nan, "diverged while warming up"
        else:
            raise ValueError(f"{folder}/train.log does not say how the warm-up ended; delete it")
    try:
        log = read_run_log(str(folder / "train.log"))
    except ValueError:
        if not diverged:
            raise
        return Run(lr, math.inf, math.inf, remark)  # before it logged anything
    lowest = log.best.loss if log.best else math.inf
    last = log.valid[-1].loss if log.valid and not diverged else math.inf
    return Run(lr, lowest, last, remark)


if __name__ == "__main__":
    main()
