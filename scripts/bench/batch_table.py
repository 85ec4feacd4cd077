"""Print the tables of scripts/bench/batch_grid.sh as Markdown: what each system needed for a loss.

A run is a folder ``SYSTEM-seedN`` with ``train.log``, of ``fairseq-train --log-format json``, and,
as the grid leaves them, a file ``done`` or ``diverged`` and ``cpu``, the processor seconds of each
of its processes. Runs that are missing or not finished enter as far as they have come.
"""

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from noise_grid_table import read_systems  # beside this file; makes the package importable, too

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.run_log import Progress, RunLog, read_run_log

NOTE = """Losses are in bits a target token. Reached is the first time that the validation loss was
as low, taken for linear between the ends of two epochs, and so are tokens and minutes; tokens are
distinct target tokens, each epoch anew; minutes are those spent in updates, whatever else the
machine did. In brackets: as a multiple of what {baseline} took. Batch (target tokens of an update)
and lr are those of the last lines of training. CPU minutes are those of the whole run, validation
included; with one thread that is its time on an idle machine, less what an interruption lost."""

TITLES = (
    *("system", "best valid loss", "reached after updates", "thousand tokens", "minutes"),
    *("all updates", "batch", "lr", "CPU minutes", ""),
)

_TRAINING = re.compile(r".*\| INFO \| (train_inner|train) \| (\{.*\})\s*")


@dataclass(frozen=True)
class Run:
    """One run, as far as it has come.

    Args:
        log: validations and progress; None if it has logged nothing yet.
        batch: distinct target tokens an update, mean over the last log line's updates.
        lr: learning rate of the last log line.
        cpu_minutes: of all its processes that came to an end; NaN if none has.
        remark: ``diverged``, ``not finished`` or nothing.
    """

    log: RunLog | None = None
    batch: float = math.nan
    lr: float = math.nan
    cpu_minutes: float = math.nan
    remark: str = "not finished"

    @property
    def best(self) -> float:
        """Return the lowest validation loss, NaN before the first one."""
        return self.log.best.loss if self.log and self.log.best else math.nan


def main() -> None:
    """Print a table for each seed, and a note."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--systems", type=Path, required=True, help="list given to batch_grid.sh")
    parser.add_argument("--seeds", type=str.split, default=["1"], metavar='"1 2"')
    parser.add_argument(
        "--loss", type=float, help="loss to reach (default: the lowest of the first system)"
    )
    args = parser.parse_args()
    with refuse_with():
        names = list(read_systems(args.systems))
        for seed in args.seeds:
            runs = {name: read_run(args.runs / f"{name}-seed{seed}") for name in names}
            print(f"Seed {seed}, {seed_table(runs, args.loss)}\n")
    print(NOTE.format(baseline=names[0]))


def read_run(folder: Path) -> Run:
    """Read one run, whatever there is of it.

    Raises:
        ValueError: if its log is not of a run from its start.
    """
    remark = "not finished"
    if (folder / "done").exists():
        remark = ""
    elif (folder / "diverged").exists():
        remark = "diverged"
    path = folder / "train.log"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    last = last_training(lines)
    if not last:
        return Run(remark=remark)
    cpu = folder / "cpu"
    minutes = cpu_minutes(cpu.read_text(encoding="utf-8")) if cpu.exists() else math.nan
    log = read_run_log(str(path))
    return Run(log, last.get("wpb", math.nan), last.get("lr", math.nan), minutes, remark)


def last_training(lines: Sequence[str]) -> dict[str, float]:
    """Return the numbers of the last line of training, without the prefix of an epoch's line.

    That of an epoch only where it had too few updates for a ``train_inner`` line.

    >>> last_training([
    ...     'D | INFO | train_inner | {"wpb": "800", "lr": "0.1"}',
    ...     'D | INFO | train | {"train_wpb": "500", "train_lr": "0.1"}',
    ... ])
    {'wpb': 800.0, 'lr': 0.1}
    """
    last: dict[str, dict[str, float]] = {"train_inner": {}, "train": {}}
    for match in filter(None, map(_TRAINING.fullmatch, lines)):
        try:
            record = json.loads(match[2])
        except ValueError:
            continue  # a killed process leaves half a line
        prefix = "train_" if match[1] == "train" else ""
        last[match[1]] = {key: float(record[prefix + key]) for key in ("wpb", "lr")}
    return last["train_inner"] or last["train"]


def cpu_minutes(text: str) -> float:
    r"""Add up what bash's ``time`` wrote, a line of user and system seconds a process.

    >>> cpu_minutes("50.5 3.5\n5 1\n")
    1.0
    """
    return sum(float(word) for word in text.split()) / 60 if text.split() else math.nan


def reach(log: RunLog, loss: float) -> Progress | None:
    """Return what a run had done when its validation loss first was as low as ``loss``.

    Updates, tokens and seconds are linear between two validations, as the loss is taken to be.

    Returns:
        The progress; None if no validation was as low.

    >>> from fairseq_bas.tool.run_log import ValidPoint
    >>> valid = (ValidPoint(10, 8.0, 8.0, 256.0), ValidPoint(20, 6.0, 6.0, 64.0))
    >>> progress = tuple(Progress(u, 100.0 * u, 100.0 * u, 2.0 * u) for u in (0, 10, 20))
    >>> reach(RunLog(valid, progress, 1), 7.0).tokens, reach(RunLog(valid, progress, 1), 5.9)
    (1500.0, None)
    """
    updates = log.updates_to_reach(loss)
    if updates is None:
        return None
    known = [point.updates for point in log.valid if point.updates <= log.total.updates]
    ends = tuple(log.at(update) for update in dict.fromkeys([0, *known]))
    return replace(log, progress=ends).at(updates)  # type: ignore[arg-type]


def seed_table(runs: dict[str, Run], loss: float | None = None) -> str:
    """Return the Markdown table of one seed, from the loss to reach on.

    Args:
        runs: system -> run; the first is what the others are compared with.
        loss: to reach, bits a target token; None for the lowest of the first system.
    """
    baseline = next(iter(runs))
    target = runs[baseline].best if loss is None else loss
    reached = {name: reach(run.log, target) if run.log else None for name, run in runs.items()}
    given = "" if loss is not None else f", the lowest of {baseline}"
    lines = [f"loss to reach {target:.3f}{given}:", "", _line(TITLES), "|" + "---|" * len(TITLES)]
    for name, run in runs.items():
        cells = [name, _number(run.best, ".3f"), *_reached(reached[name], reached[baseline])]
        updates = run.log.updates if run.log else math.nan
        cells += [_number(updates, ".0f"), _number(run.batch, ".0f"), _number(run.lr, ".2g")]
        lines.append(_line([*cells, _number(run.cpu_minutes, ".1f"), run.remark]))
    return "\n".join(lines)


def _reached(point: Progress | None, compared: Progress | None) -> list[str]:
    """Write updates, thousand tokens and minutes, each as a multiple of the baseline's, too."""
    cells = []
    for key, scale, form in (("updates", 1, ".0f"), ("tokens", 1e3, ".0f"), ("seconds", 60, ".2f")):
        value = getattr(point, key) / scale if point else math.nan
        ratio = value * scale / getattr(compared, key) if compared else math.nan
        multiple = "" if math.isnan(ratio) else f" ({ratio:.2f}x)"
        cells.append(_number(value, form) + multiple)
    return cells


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
