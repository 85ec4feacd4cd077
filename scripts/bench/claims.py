"""What a benchmark claims, and what was measured: the part of its JSON that ``run.sh`` tabulates.

{"claims": [{"claim": "...", "goal": 0.97, "least": false, "unit": "",
             "measured": {"median": 0.95, "min": 0.93, "max": 0.99}}], ...}
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import torch

Claim = dict[str, Any]


def claim(
    text: str, goal: float | None, values: Sequence[float], least: bool = False, unit: str = ""
) -> Claim:
    """Return a claim with what was measured.

    Args:
        text: one line, with sizes.
        goal: that the median should reach; None where the value is only reported.
        values: one for each round.
        least: the median should be at least the goal, not at most.
        unit: of the values; empty for ratios.
    """
    measured = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {"claim": text, "goal": goal, "least": least, "unit": unit, "measured": measured}


def holds(entry: Claim) -> bool | None:
    """Tell whether a claim holds; None where it has no goal.

    >>> holds(claim("time", 0.97, [0.9, 0.98, 0.96])), holds(claim("share", 0.5, [0.4], least=True))
    (True, False)
    """
    if entry["goal"] is None:
        return None
    median = entry["measured"]["median"]
    return bool(median >= entry["goal"] if entry["least"] else median <= entry["goal"])


def line(entry: Claim) -> str:
    """Return a claim as one line of text."""
    answer = {True: "yes", False: "NO", None: "-"}[holds(entry)]
    return f"{entry['claim']}: {measured(entry)}, goal {goal(entry)}: {answer}"


def measured(entry: Claim) -> str:
    """Return the median and the range."""
    low, mid, high = (entry["measured"][key] for key in ("min", "median", "max"))
    return f"{_short(mid)} ({_short(low)} to {_short(high)}){_unit(entry)}"


def goal(entry: Claim) -> str:
    """Return the goal with its sense."""
    if entry["goal"] is None:
        return "-"
    return f"{'>=' if entry['least'] else '<='} {entry['goal']:g}{_unit(entry)}"


def machine() -> dict[str, Any]:
    """Return what a table of results has to say about the machine."""
    on_gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def show(entries: Iterable[Claim]) -> None:
    """Print claims, a line each."""
    for entry in entries:
        print(line(entry))


def _unit(entry: Claim) -> str:
    return f" {entry['unit']}" if entry.get("unit") else ""


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"
