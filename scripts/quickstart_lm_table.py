"""Say what language models came to: a table, a sentence a run, learning curves.

A run is a folder with ``train.log``, of ``fairseq-train --log-format json``, and ``test.ppl``, the
log of ``fairseq-eval-lm`` on the test set with the best checkpoint. The first run is the one the
others are compared with. A Kneser-Ney 5-gram of the same dictionary is the mark that counting words
sets.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

# So that it runs where the package is not installed, beside fairseq-train --user-dir.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent / "bench"))

from kneser_ney import KneserNey, dictionary, read_lines, sequences
from run_table import (
    TRAINING_COLUMNS,
    Columns,
    Row,
    Trained,
    draw_curves,
    loss_part,
    measured_training,
    named_folders,
    text_table,
    time_part,
    write_table,
)

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.run_log import read_run_log

COLUMNS: Columns = {
    **TRAINING_COLUMNS,
    "target_tokens": ("tokens", "read", ",.0f"),
    "valid_perplexity": ("perplexity", "valid", ".2f"),
    "test_perplexity": ("", "test", ".2f"),
}
ORDER = 5


@dataclass(frozen=True)
class LanguageRun(Trained):
    """A trained language model with the perplexity that its best checkpoint has on the test set."""

    test: float


def main() -> None:
    """Print the table and the sentences; write the table and the figure into a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--corpus", type=Path, required=True, help="text that it was trained on")
    parser.add_argument("--min-count", type=int, required=True, help="of a word in the dictionary")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is written")
    args = parser.parse_args()
    with refuse_with():
        runs = [read_language_run(name, folder) for name, folder in named_folders(args.runs)]
        rows = [kneser_ney_row(args.corpus, args.min_count), *map(measured, runs)]
    print(text_table(rows, COLUMNS))
    for run in runs[1:]:
        print(f"\n{verdict(runs[0], run)}")
    try:
        write_table(args.out, rows, COLUMNS)
        draw_curves(args.out, runs, "table.tsv")
    except OSError as error:
        sys.exit(f"{error.filename or args.out} cannot be written ({error.strerror}); change --out")


def read_language_run(name: str, folder: Path) -> LanguageRun:
    """Read the logs of a run.

    Raises:
        ValueError: if one of them is missing or lacks what is needed.
    """
    log = read_run_log(str(folder / "train.log"))
    return LanguageRun(name, log, read_perplexity(folder / "test.ppl"))


def read_perplexity(path: Path) -> float:
    """Return the perplexity that ``fairseq-eval-lm`` has logged.

    Raises:
        ValueError: if the log cannot be read or has none.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check the path") from error
    found = re.findall(r"Perplexity: ([0-9.]+|inf|nan)", text)
    if not found:
        raise ValueError(f"{path} has no perplexity; give the log of fairseq-eval-lm")
    return float(found[-1])


def kneser_ney_row(corpus: Path, min_count: int) -> Row:
    """Return the row of an interpolated modified Kneser-Ney model, see ``bench/kneser_ney.py``.

    Raises:
        ValueError: if the text cannot be read.
    """
    text = {split: read_lines(corpus / f"{split}.txt") for split in ("train", "valid", "test")}
    words = dictionary(text["train"], min_count)
    model = KneserNey(sequences(text["train"], words), words, ORDER)
    row: dict[str, str | float | None] = dict.fromkeys(COLUMNS)
    for split in ("valid", "test"):
        row[f"{split}_perplexity"] = model.perplexity(sequences(text[split], words))[0]
    return row | {"system": f"Kneser-Ney {ORDER}-gram"}


def measured(run: LanguageRun) -> Row:
    """Return the row of a run."""
    best = run.log.best
    found = {"valid_perplexity": best.ppl if best else None, "test_perplexity": run.test}
    return measured_training(run) | found


def verdict(base: LanguageRun, run: LanguageRun) -> str:
    """Say in one sentence what a run gained over the first, and what it cost.

    Args:
        base: the first run.
        run: another run.

    Returns:
        A sentence on the perplexity of the test set, on the update at which it reached the first
        run's lowest validation loss, and on the time.
    """
    change = 100 * (run.test / base.test - 1)
    direction = "higher" if change > 0 else "lower"
    updates = f"after {run.log.updates} updates"
    other = "" if run.log.updates == base.log.updates else f" after {base.log.updates} updates"
    parts = [
        f"{run.label} has a test perplexity of {run.test:.2f} {updates} against {base.test:.2f} of "
        f"{base.label}{other}, {abs(change):.1f} % {direction}"
    ]
    if base.log.best and run.log.best:
        parts.append(loss_part(base, run))
    return "; ".join(parts + time_part(base, run)) + "."


if __name__ == "__main__":
    main()
