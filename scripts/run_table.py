"""What the tables that end the quickstarts share: columns, sentences, files, learning curves."""

import csv
import io
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# So that it runs where the package is not installed, beside fairseq-train --user-dir.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fairseq_bas.tool.learning_curve_figure import draw_learning_curves
from fairseq_bas.tool.run_log import RunLog

Row = Mapping[str, str | float | None]
Columns = Mapping[str, tuple[str, str, str]]
"""Column -> its two lines of heading, and how its numbers are written."""


@dataclass(frozen=True)
class Trained:
    """A trained system and its log."""

    name: str
    log: RunLog

    @property
    def label(self) -> str:
        """Return the name, with M if there are copies."""
        copies = f" (M = {self.log.replicas:g})" if self.log.replicas != 1 else ""
        return self.name + copies


def named_folders(arguments: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of each ``NAME=DIR``.

    Raises:
        ValueError: if an argument has another form, or a name comes twice.
    """
    names: set[str] = set()
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not (name.strip() and equals and folder):
            raise ValueError(f"--runs {argument} is not NAME=DIR; write baseline=DIR copies=DIR")
        if name in names:
            raise ValueError(f"--runs names {name} twice; give each run a name of its own")
        names.add(name)
        yield name, Path(folder)


def measured_training(run: Trained) -> dict[str, str | float | None]:
    """Return the columns of a row that the log fills, numbers in full, None or NaN for none."""
    log = run.log
    return {
        "system": run.name,
        "replicas": log.replicas,
        "updates": log.updates,
        "target_tokens": log.total.tokens,
        "target_tokens_with_copies": log.total.replicated_tokens,
        "minutes": log.train_minutes,
    }


TRAINING_COLUMNS: Columns = {
    "system": ("", "system", ""),
    "replicas": ("", "M", "g"),
    "updates": ("", "updates", "d"),
    "target_tokens": ("target", "tokens", ",.0f"),
    "target_tokens_with_copies": ("with", "copies", ",.0f"),
    "minutes": ("training", "minutes", ".1f"),
}


def text_table(rows: Sequence[Row], columns: Columns) -> str:
    """Return the rows as aligned text under a heading of two lines, ``-`` for what is missing."""
    cells = [[heading[line] for heading in columns.values()] for line in (0, 1)]
    for row in rows:
        written = [
            "-" if is_missing(row[name]) else format(row[name], form)
            for name, (_, _, form) in columns.items()
        ]
        cells.append(written)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        right = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *right]).rstrip())
    return "\n".join(lines)


def is_missing(value: str | float | None) -> bool:
    """Tell whether a cell is empty: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def loss_part(base: Trained, run: Trained) -> str:
    """Say when a run reached the lowest validation loss of the first."""
    best, own = base.log.best, run.log.best
    assert best and own  # for the type checker; the caller has looked
    reached = run.log.updates_to_reach(best.loss)
    goal = f"the best validation loss of {base.name} ({best.loss:.3f})"
    if reached is None:
        return f"it never reached {goal}, its own is {own.loss:.3f}"
    return f"it reached {goal} at update {reached:.0f} instead of {best.updates}"


def time_part(base: Trained, run: Trained) -> list[str]:
    """Say how many times as long training took; nothing where the log has no times."""
    if not base.log.train_minutes > 0:
        return []
    times = run.log.train_minutes / base.log.train_minutes
    return [f"training took {times:.1f} times as long"]


def write_table(out: Path, rows: Sequence[Row], columns: Columns) -> None:
    """Write ``table.tsv`` into a folder, which is made where it is missing."""
    out.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(columns), dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if is_missing(value) else value for name, value in row.items()})
    (out / "table.tsv").write_text(table.getvalue(), encoding="utf-8")


def draw_curves(out: Path, runs: Sequence[Trained], others: str) -> None:
    """Write ``learning_curves.png`` into a folder and say what else is there."""
    figure = out / "learning_curves.png"
    try:
        draw_learning_curves(str(figure), {run.label: run.log for run in runs})
    except ImportError:
        print("\nNo learning_curves.png: matplotlib is missing; pip install matplotlib, run again.")
    else:
        print(f"\nWritten to {out}: {others} {figure.name}")
