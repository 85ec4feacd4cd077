"""Draw the simulator's predictions; matplotlib is imported only when a figure is drawn."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

COLOURS = {"rows": "C0", "passes": "C1", "workers": "C2", "distinct": "C7"}
LABELS = {"distinct": "distinct sentences, as many rows"}
STYLES = ("--", "-.", ":", (0, (3, 1, 1, 1)))


def draw(
    rows: Sequence[dict[str, Any]],
    critical: Sequence[float],
    path: Path,
    shown: Sequence[int] = (4, 16),
) -> None:
    """Write the time of an update and to quality against workers, both logarithmic.

    Args:
        rows: what ``scaling_predict.predict`` gave.
        critical: critical batches, a panel each.
        path: PNG file.
        shown: M, beside 1.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    base = next(row for row in rows if row["workers"] == min(r["workers"] for r in rows))
    figure, axes = pyplot.subplots(
        1, 1 + len(critical), figsize=(4.6 * (1 + len(critical)), 4.6), layout="constrained"
    )
    panels: list[tuple[str, Callable[[dict[str, Any]], float]]] = [
        ("ms an update", lambda row: 1e3 * row["update"])
    ]
    for number, size in enumerate(critical):
        title = f"time to quality, relative\ncritical batch {size:,.0f} target tokens"
        panels.append((title, functools.partial(_relative_time, base, number)))
    for axis, (title, value_of) in zip(axes, panels, strict=True):
        for label, colour, style, line in _lines(rows, shown):
            points = [(row["workers"], value_of(row)) for row in line]
            axis.loglog(*zip(*points, strict=True), style, color=colour, label=label, lw=1.4)
        axis.set_title(title, fontsize=10)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(ticker.ScalarFormatter())
        axis.set_xlabel("workers")
        axis.grid(True, which="major", alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def _relative_time(base: dict[str, Any], number: int, row: dict[str, Any]) -> float:
    return row["quality"][number] / base["quality"][number]


def _lines(
    rows: Sequence[dict[str, Any]], shown: Sequence[int]
) -> list[tuple[str, str, Any, list[dict[str, Any]]]]:
    """Return label, colour, style and rows of each line."""
    lines: list[tuple[str, str, Any, list[dict[str, Any]]]] = [
        ("no copies", "black", "-", [row for row in rows if row["replicas"] == 1])
    ]
    for placement, colour in COLOURS.items():
        for copies, style in zip(shown, STYLES, strict=False):
            line = [r for r in rows if (r["placement"], r["replicas"]) == (placement, copies)]
            if line:
                label = f"{LABELS.get(placement, placement)}, M = {copies}"
                lines.append((label, colour, style, line))
    return lines
