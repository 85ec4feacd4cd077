"""Print a table of the language models that ``lm_grid.sh`` trained.

A run is a folder ``SYSTEM-seedN`` with ``train.log``, of ``fairseq-train --log-format json``, and
``valid.ppl`` and ``test.ppl``, of ``fairseq-eval-lm``.
"""

import argparse
import re
import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.run_log import read_run_log

PERPLEXITY = re.compile(r"Perplexity: ([0-9.]+)")


def perplexity(log: Path) -> float:
    """Return the perplexity that ``fairseq-eval-lm`` printed into ``log``."""
    found = PERPLEXITY.findall(log.read_text()) if log.is_file() else []
    if not found:
        raise ValueError(f"{log} holds no perplexity; run the grid to its end")
    return float(found[-1])


def of_run(run: Path) -> dict[str, float]:
    """Return what a run reached: updates, minutes spent in updates, perplexities."""
    log = read_run_log(str(run / "train.log"))
    return {
        "updates": log.updates,
        "valid": perplexity(run / "valid.ppl"),
        "test": perplexity(run / "test.ppl"),
        "minutes": log.train_minutes,
    }


def spread(values: list[float], digits: int) -> str:
    """Write a mean, with lowest and highest value where they differ.

    >>> spread([1.0, 3.0], 1), spread([2.0], 1)
    ('2.0 (1.0 to 3.0)', '2.0')
    """
    text = f"{mean(values):.{digits}f}"
    low, high = (f"{end(values):.{digits}f}" for end in (min, max))
    return text if low == high else f"{text} ({low} to {high})"


def main() -> None:
    """Read the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--systems", type=Path, required=True)
    parser.add_argument("--seeds", default="1 2")
    args = parser.parse_args()
    lines = [line.partition("#")[0].split() for line in args.systems.read_text().splitlines()]
    print("| system | updates | valid perplexity | test perplexity | minutes |")
    print("|---|---|---|---|---|")
    with refuse_with():
        for name in (words[0] for words in lines if words and words[1:2] != ["="]):
            runs = [of_run(args.runs / f"{name}-seed{seed}") for seed in args.seeds.split()]
            columns = {key: [run[key] for run in runs] for key in runs[0]}
            print(
                f"| {name} | {spread(columns['updates'], 0)} | {spread(columns['valid'], 2)} "
                f"| {spread(columns['test'], 2)} | {spread(columns['minutes'], 1)} |"
            )
    print(f"\nMean over seeds {args.seeds} (lowest to highest); best checkpoints.")


if __name__ == "__main__":
    main()
