"""Say what training runs came to: a table, a sentence a run, learning curves.

A run is a folder with ``train.log``, of ``fairseq-train --log-format json``, and one ``*.gen``, the
log of ``fairseq-generate`` on the test set. The first run is the one the others are compared with.
"""

import argparse
import csv
import io
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# So that it runs where the package is not installed, beside fairseq-train --user-dir.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.hypotheses import Hypotheses, read_hypotheses, read_reference
from fairseq_bas.tool.learning_curve_figure import draw_learning_curves
from fairseq_bas.tool.paired_score import score_systems
from fairseq_bas.tool.run_log import RunLog, read_run_log
from fairseq_bas.tool.score_table import json_report
from fairseq_bas.tool.system_score import MetricScore, ScoreSettings, SystemScore

SETTINGS = ScoreSettings(metrics=("bleu",))


@dataclass(frozen=True)
class Run:
    """A trained system: its log and its translations of the test set."""

    name: str
    log: RunLog
    output: Hypotheses

    @property
    def label(self) -> str:
        """Return the name, with M if there are copies."""
        copies = f" (M = {self.log.replicas:g})" if self.log.replicas != 1 else ""
        return self.name + copies


def main() -> None:
    """Print the table and the sentences; write them, the scores and the figure into a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--ref", required=True, help="raw reference of the test set")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is written")
    args = parser.parse_args()
    with refuse_with():
        runs = read_runs(args.runs)
        texts = {run.name: run.output.sentences for run in runs}
        scores = score_systems(texts, {args.ref: read_reference(args.ref)}, SETTINGS)
    rows = [measured(run, score) for run, score in zip(runs, scores, strict=True)]
    print(text_table(rows))
    signature = scores[0].metrics["BLEU"].signature
    print(f"\nBLEU: {signature}; +- is half the 95% interval, p is against {runs[0].name}")
    for run, score in zip(runs[1:], scores[1:], strict=True):
        print(f"\n{verdict(runs[0], scores[0], run, score)}")
    try:
        write_all(args.out, args.ref, runs, scores, rows)
    except OSError as error:
        sys.exit(f"{error.filename or args.out} cannot be written ({error.strerror}); change --out")


def read_runs(arguments: Sequence[str]) -> list[Run]:
    """Read the runs that ``NAME=DIR`` arguments name.

    Args:
        arguments: one ``NAME=DIR`` a run, the first is the one to compare with.

    Returns:
        The runs, in this order.

    Raises:
        ValueError: if an argument has another form, a name comes twice, or a folder lacks a log.
    """
    runs: list[Run] = []
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not (name.strip() and equals and folder):
            raise ValueError(f"--runs {argument} is not NAME=DIR; write baseline=DIR copies=DIR")
        if any(run.name == name for run in runs):
            raise ValueError(f"--runs names {name} twice; give each run a name of its own")
        found = sorted(Path(folder).glob("*.gen"))
        if len(found) != 1:
            raise ValueError(
                f"{folder} has {len(found)} files *.gen; keep one, what fairseq-generate printed "
                "for the test set"
            )
        log = read_run_log(str(Path(folder) / "train.log"))
        runs.append(Run(name, log, read_hypotheses(str(found[0]))))
    return runs


def measured(run: Run, score: SystemScore) -> dict[str, str | float | None]:
    """Return the row of a run, numbers in full, None or NaN where there is none."""
    log, bleu = run.log, score.metrics["BLEU"]
    return {
        "system": run.name,
        "replicas": log.replicas,
        "updates": log.updates,
        "target_tokens": log.total.tokens,
        "target_tokens_with_copies": log.total.replicated_tokens,
        "minutes": log.train_minutes,
        "valid_loss_last": log.valid[-1].loss if log.valid else None,
        "valid_loss_best": log.best.loss if log.best else None,
        "bleu": bleu.score,
        "bleu_ci": bleu.ci,
        "p_value": bleu.p_value,
    }


_COLUMNS = {
    "system": ("", "system", ""),
    "replicas": ("", "M", "g"),
    "updates": ("", "updates", "d"),
    "target_tokens": ("target", "tokens", ",.0f"),
    "target_tokens_with_copies": ("with", "copies", ",.0f"),
    "minutes": ("training", "minutes", ".1f"),
    "valid_loss_last": ("valid loss", "last", ".3f"),
    "valid_loss_best": ("", "best", ".3f"),
    "bleu": ("", "BLEU", ".2f"),
    "bleu_ci": ("", "+-", ".2f"),
    "p_value": ("", "p", ".3f"),
}
"""Column -> its two lines of heading, and how its numbers are written."""

_TRAINING = [name for name in _COLUMNS if name not in ("system", "bleu", "bleu_ci", "p_value")]


def text_table(rows: Sequence[dict[str, str | float | None]]) -> str:
    """Return the rows as aligned text under a heading of two lines, ``-`` for what is missing."""
    cells = [[heading[line] for heading in _COLUMNS.values()] for line in (0, 1)]
    for row in rows:
        written = [
            "-" if _missing(row[name]) else format(row[name], form)
            for name, (_, _, form) in _COLUMNS.items()
        ]
        cells.append(written)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        right = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *right]).rstrip())
    return "\n".join(lines)


def _missing(value: str | float | None) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def verdict(base: Run, base_score: SystemScore, run: Run, score: SystemScore) -> str:
    """Say in one sentence what a run gained over the first, and what it cost.

    Args:
        base: the first run.
        base_score: its scores.
        run: another run.
        score: its scores, with the p-value against the first.

    Returns:
        A sentence on BLEU, on the update at which it reached the first run's lowest validation
        loss, and on the time.
    """
    parts = [_bleu_part(base, base_score.metrics["BLEU"], run, score.metrics["BLEU"])]
    if base.log.best and run.log.best:
        parts.append(_loss_part(base, run))
    if base.log.train_minutes > 0:
        times = run.log.train_minutes / base.log.train_minutes
        parts.append(f"training took {times:.1f} times as long")
    return "; ".join(parts) + "."


def _bleu_part(base: Run, old: MetricScore, run: Run, new: MetricScore) -> str:
    """Judge the difference in BLEU by its p-value."""
    p_value = f"p = {new.p_value:.3f}"
    if not new.significant:
        claim, reason = "did not help", f"no more of a difference than chance makes ({p_value})"
    elif new.score > old.score:
        claim, reason = "helped", f"a gain that chance hardly makes ({p_value})"
    else:
        claim, reason = "did not help but hurt", f"a loss that chance hardly makes ({p_value})"
    length = f"after {run.log.updates} updates"
    other = "" if run.log.updates == base.log.updates else f" after {base.log.updates} updates"
    return (
        f"{run.label} {claim}: {new.score:.2f} BLEU {length} against {old.score:.2f} of "
        f"{base.label}{other}, {reason}"
    )


def _loss_part(base: Run, run: Run) -> str:
    """Say when a run reached the lowest validation loss of the first."""
    best, own = base.log.best, run.log.best
    assert best and own  # for the type checker; the caller has looked
    reached = run.log.updates_to_reach(best.loss)
    goal = f"the best validation loss of {base.name} ({best.loss:.3f})"
    if reached is None:
        return f"it never reached {goal}, its own is {own.loss:.3f}"
    return f"it reached {goal} at update {reached:.0f} instead of {best.updates}"


def write_all(
    out: Path,
    reference: str,
    runs: Sequence[Run],
    scores: Sequence[SystemScore],
    rows: Sequence[dict[str, str | float | None]],
) -> None:
    """Write ``table.tsv``, ``scores.json`` and ``learning_curves.png`` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(_COLUMNS), dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if _missing(value) else value for name, value in row.items()})
    (out / "table.tsv").write_text(table.getvalue(), encoding="utf-8")
    files = {
        run.name: {
            "path": run.output.path,
            "source": run.output.source,
            "training": {name: None if _missing(row[name]) else row[name] for name in _TRAINING},
        }
        for run, row in zip(runs, rows, strict=True)
    }
    report = json_report(scores, SETTINGS, files, [reference])
    (out / "scores.json").write_text(report, encoding="utf-8")
    figure = out / "learning_curves.png"
    try:
        draw_learning_curves(str(figure), {run.label: run.log for run in runs})
    except ImportError:
        print("\nNo learning_curves.png: matplotlib is missing; pip install matplotlib, run again.")
    else:
        print(f"\nWritten to {out}: table.tsv scores.json {figure.name}")


if __name__ == "__main__":
    main()
