"""Say what training runs came to: a table, a sentence a run, learning curves.

A run is a folder with ``train.log``, of ``fairseq-train --log-format json``, and one ``*.gen``, the
log of ``fairseq-generate`` on the test set. The first run is the one the others are compared with.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# So that it runs where the package is not installed, beside fairseq-train --user-dir.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from run_table import (
    TRAINING_COLUMNS,
    Columns,
    Row,
    Trained,
    draw_curves,
    is_missing,
    loss_part,
    measured_training,
    named_folders,
    text_table,
    time_part,
    write_table,
)

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.hypotheses import Hypotheses, read_hypotheses, read_reference
from fairseq_bas.tool.paired_score import score_systems
from fairseq_bas.tool.run_log import read_run_log
from fairseq_bas.tool.score_table import json_report
from fairseq_bas.tool.system_score import MetricScore, ScoreSettings, SystemScore

SETTINGS = ScoreSettings(metrics=("bleu",))


@dataclass(frozen=True)
class Run(Trained):
    """A trained system with its translations of the test set."""

    output: Hypotheses


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
    print(text_table(rows, _COLUMNS))
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
    for name, folder in named_folders(arguments):
        found = sorted(folder.glob("*.gen"))
        if len(found) != 1:
            raise ValueError(
                f"{folder} has {len(found)} files *.gen; keep one, what fairseq-generate printed "
                "for the test set"
            )
        log = read_run_log(str(folder / "train.log"))
        runs.append(Run(name, log, read_hypotheses(str(found[0]))))
    return runs


def measured(run: Run, score: SystemScore) -> dict[str, str | float | None]:
    """Return the row of a run."""
    log, bleu = run.log, score.metrics["BLEU"]
    return measured_training(run) | {
        "valid_loss_last": log.valid[-1].loss if log.valid else None,
        "valid_loss_best": log.best.loss if log.best else None,
        "bleu": bleu.score,
        "bleu_ci": bleu.ci,
        "p_value": bleu.p_value,
    }


_COLUMNS: Columns = {
    **TRAINING_COLUMNS,
    "valid_loss_last": ("valid loss", "last", ".3f"),
    "valid_loss_best": ("", "best", ".3f"),
    "bleu": ("", "BLEU", ".2f"),
    "bleu_ci": ("", "+-", ".2f"),
    "p_value": ("", "p", ".3f"),
}

_TRAINING = [name for name in _COLUMNS if name not in ("system", "bleu", "bleu_ci", "p_value")]


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
        parts.append(loss_part(base, run))
    parts += time_part(base, run)
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


def write_all(
    out: Path,
    reference: str,
    runs: Sequence[Run],
    scores: Sequence[SystemScore],
    rows: Sequence[Row],
) -> None:
    """Write ``table.tsv``, ``scores.json`` and ``learning_curves.png`` into a folder."""
    write_table(out, rows, _COLUMNS)
    files = {
        run.name: {
            "path": run.output.path,
            "source": run.output.source,
            "training": {name: None if is_missing(row[name]) else row[name] for name in _TRAINING},
        }
        for run, row in zip(runs, rows, strict=True)
    }
    report = json_report(scores, SETTINGS, files, [reference])
    (out / "scores.json").write_text(report, encoding="utf-8")
    draw_curves(out, runs, "table.tsv scores.json")


if __name__ == "__main__":
    main()
