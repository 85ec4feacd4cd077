"""Print one table of what benchmarks claim, from the JSON files that they wrote.

    python scripts/bench/bench_table.py FILE.json ... [--json FILE]

A file with ``claims`` (see ``claims.py``) gives them. Of others, every ``of_NAME`` in them is a
ratio; what it should be is in ``GOALS``.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from claims import Claim, goal, holds, measured

GOALS = {
    ("loss", "chunked", "of_plain"): 0.80,
    ("loss", "chunked", "of_plain.without_gradients"): 0.10,
    ("rdrop", "memory", "ours", "of_fairseq"): 0.25,
    ("rdrop", "loss", "ours", "of_fairseq"): 0.80,
    ("rdrop", "update", "ours", "of_fairseq"): 0.80,
    ("subword", "M = 1", "of_plain"): 1.3,
    ("subword", "M = 4", "of_plain"): 1.3,
    ("lstm", "awd", "of_bare"): 1.10,
    ("lstm", "zoneout", "of_bare"): 1.50,
}
"""By benchmark and the last names of the way to a ratio: the most it may be."""

SPREAD = ("median", "min", "max")
TITLES = ("claim", "goal", "measured: median (range)", "holds")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="written by benchmarks")
    parser.add_argument("--json", type=Path, help="write the claims of all files here")
    args = parser.parse_args()
    found: dict[str, list[Claim]] = {}
    machine = ""
    for path in args.files:
        document = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = claims_of(path.stem, document)
        if "device" in document and "threads" in document:
            machine = "{device}, {threads} threads, torch {torch}".format(**document)
    for line in table(found):
        print(line)
    print(machine)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def claims_of(bench: str, document: dict[str, Any]) -> list[Claim]:
    """Return the claims of a benchmark.

    Args:
        bench: its name.
        document: what it wrote.
    """
    if "claims" in document:
        return document["claims"]
    if bench.startswith("noise"):
        return noise_claims(document)
    return [
        {
            "claim": " ".join((bench, *path[:-1], path[-1].replace("_", " "))),
            "goal": goal_of(bench, path),
            "least": False,
            "measured": values,
        }
        for path, values in ratios_in(document)
    ]


def goal_of(bench: str, path: tuple[str, ...]) -> float | None:
    """Return the most a ratio may be; None if nothing is claimed of it.

    >>> goal_of("lstm-fp16", ("sides", "awd", "of_bare")), goal_of("lstm", ("awd", "ms"))
    (1.1, None)
    """
    for (name, *last), most in GOALS.items():
        if name == bench.partition("-")[0] and path[-len(last) :] == tuple(last):
            return most
    return None


def ratios_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Find every ratio that is called ``of_NAME``; one number of several becomes its own.

    >>> found = ratios_in({"sides": {"a": {"of_b": {"median": 2, "min": 1, "max": 3}}}})
    >>> [(path, values["median"]) for path, values in found]
    [(('a', 'of_b'), 2)]
    >>> [path[-1] for path, _ in ratios_in({"a": {"of_b": {"peak": 0.5}}})]
    ['of_b.peak']
    """
    for key, item in value.items() if isinstance(value, dict) else ():
        if not key.startswith("of_"):
            yield from ratios_in(item, path if key in ("sides", "cases") else (*path, key))
            continue
        several = {key: item}
        if isinstance(item, dict) and "median" not in item:
            several = {f"{key}.{name}": number for name, number in item.items()}
        for name, found in several.items():
            spread = found if isinstance(found, dict) else dict.fromkeys(SPREAD, found)
            if any(spread[each] != 1.0 for each in SPREAD):  # else what others are compared with
                yield (*path, name), spread


def noise_claims(document: dict[str, Any]) -> list[Claim]:
    """Return how many times faster token noise is than fairseq's, and what it adds to an update."""
    entries = []
    rows = document["ms"]["batch"]
    slowest = max(rows.values(), key=lambda row: row["median"])
    for name, row in rows.items():
        if row is slowest:
            continue
        factor = {
            "median": slowest["median"] / row["median"],
            "min": slowest["min"] / row["max"],
            "max": slowest["max"] / row["min"],
        }
        text = f"noise of a batch, {name}: times as fast as fairseq's"
        entries.append({"claim": text, "goal": 20, "least": True, "measured": factor})
    update = document["ms"].get("update", {})
    if "with noise" in update:
        bare, noisy = update["without noise"], update["with noise"]
        spread = {key: noisy[key] / bare["median"] for key in ("median", "min", "max")}
        text = "noise: update with it against one without"
        entries.append({"claim": text, "goal": None, "least": False, "measured": spread})
    return entries


def table(found: dict[str, list[Claim]]) -> list[str]:
    """Return the lines of a Markdown table."""
    answers = {True: "yes", False: "**no**", None: ""}
    rows = [
        (entry["claim"], goal(entry), measured(entry), answers[holds(entry)])
        for entries in found.values()
        for entry in entries
    ]
    if not rows:
        sys.exit("no claims were found")
    widths = [max(len(row[column]) for row in (TITLES, *rows)) for column in range(len(TITLES))]
    lines = [TITLES, tuple("-" * width for width in widths), *rows]
    return [
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + " |"
        for row in lines
    ]


if __name__ == "__main__":
    main()
