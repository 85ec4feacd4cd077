"""Damage thousands of inputs and see that each works or is refused in one clear line.

Most cases run in this process, under a time limit each; a sample goes through real processes. The
damage of a case follows from its kind and number alone, so ``--only KIND --first N --cases 1``
repeats one. Exit code 1 if a case hangs, ends in a traceback, or damages a file it writes.

    python scripts/bench/fuzz.py --cases 200 --processes 20 --json fuzz.json
"""

import argparse
import json
import logging
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

# So that it runs where the package is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fuzz_checkpoints import checkpoint_case
from fuzz_commands import command_outcomes
from fuzz_files import Material, data_case, log_case, score_case
from fuzz_material import make_material
from fuzz_outcome import BUG, REFUSED, WORKED, Outcome, attempt
from fuzz_text import TEXT_KINDS, text_case

SECONDS = 60.0
Maker = Callable[[int], Callable[[], None]]


def makers(material: Material) -> dict[str, Maker]:
    """Return what makes a case of each kind from its number."""
    files: dict[str, Maker] = {
        "data of translation": partial(data_case, material, "translation"),
        "data of a text": partial(data_case, material, "text"),
        "checkpoints": partial(checkpoint_case, material),
        "texts to score": partial(score_case, material),
        "logs of runs": partial(log_case, material),
    }
    return {**files, **{kind: partial(text_case, kind) for kind in TEXT_KINDS}}


def outcomes(
    material: Material, numbers: range, only: str | None = None, seconds: float = SECONDS
) -> Iterator[Outcome]:
    """Run the cases of all kinds, or of one.

    Args:
        material: correct files.
        numbers: of the cases.
        only: the kind; None for all.
        seconds: limit for each case.
    """
    logging.disable(logging.CRITICAL)
    try:
        for kind, make in makers(material).items():
            if only in (None, kind):
                for number in numbers:
                    yield attempt(kind, number, make(number), seconds)
    finally:
        logging.disable(logging.NOTSET)


def table(results: list[Outcome]) -> list[str]:
    """Return the number of cases by kind and result as lines."""
    counts = Counter((outcome.kind, outcome.result) for outcome in results)
    kinds = list(dict.fromkeys(outcome.kind for outcome in results))
    lines = [f"{'kind':<24} {'cases':>6} {WORKED:>7} {REFUSED:>8} {BUG:>5}"]
    for kind in [*kinds, "all"]:
        row = [
            sum(n for (k, r), n in counts.items() if kind in (k, "all") and r == result)
            for result in (WORKED, REFUSED, BUG)
        ]
        lines.append(f"{kind:<24} {sum(row):>6} {row[0]:>7} {row[1]:>8} {row[2]:>5}")
    return lines


def main() -> int:
    """Run everything and print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=150, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", metavar="KIND", help="one kind, as the table names it")
    parser.add_argument("--processes", type=int, default=12, help="cases in real processes")
    parser.add_argument("--json", metavar="FILE", help="write every outcome")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        material = make_material(Path(folder) / "material")
        numbers = range(args.first, args.first + args.cases)
        results = list(outcomes(material, numbers, args.only))
        if args.only in (None, "commands"):
            results += command_outcomes(material, args.processes)
    print("\n".join(table(results)))
    print(f"{time.monotonic() - begun:.0f} s")
    bugs = [outcome for outcome in results if outcome.result == BUG]
    for outcome in bugs:
        print(f"\n{outcome.kind}, case {outcome.seed}:\n{outcome.detail}", file=sys.stderr)
    if args.json:
        records = [vars(outcome) for outcome in results]
        Path(args.json).write_text(json.dumps(records, indent=1), encoding="utf-8")
    return int(bool(bugs))


if __name__ == "__main__":
    sys.exit(main())
