"""Time several ways to do the same in turns, and report them relative to one of them."""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping

import torch


def run_in_turns(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every side once a round, so that what disturbs the machine disturbs all alike.

    Args:
        runs: by name, what makes a run and returns its seconds.
        rounds: counted rounds; one before them is not counted.

    Returns:
        Seconds of each side's counted rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            taken = run()
            if turn > 0:
                seconds[name].append(taken)
    return seconds


def report(seconds: Mapping[str, list[float]], base: str, args: argparse.Namespace) -> None:
    """Print medians and ranges, in ms and relative to ``base`` round by round.

    Args:
        seconds: of every side, base included.
        base: the side that others are compared with.
        args: the command line's values; ``args.json`` may name a file to write them to.
    """
    write(args, sides=compare(seconds, base))


def compare(
    seconds: Mapping[str, list[float]], base: str, unit: str = "ms"
) -> dict[str, dict[str, dict[str, float]]]:
    """Print medians and ranges as `report` does, and return them by side.

    Args:
        seconds: of every side, base included.
        base: the side that others are compared with.
        unit: what a thousandth of the given numbers is.
    """
    sides = {}
    width = max(map(len, seconds)) + 2
    for name, times in seconds.items():
        ratios = [t / b for t, b in zip(times, seconds[base], strict=True)]
        ms = [1000 * t for t in times]
        sides[name] = {unit: _range(ms), f"of_{base}": _range(ratios)}
        print(
            f"{name:{width}}{statistics.median(ms):8.1f} {unit} ({min(ms):.1f} to {max(ms):.1f})"
            f"{statistics.median(ratios):8.2f} of {base} ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    return sides


def write(args: argparse.Namespace, **results: object) -> None:
    """Write the flags, torch's version and the results to ``args.json``, if it names a file."""
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items()}
        document = {**settings, "torch": torch.__version__, **results}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _range(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
