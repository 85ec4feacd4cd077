"""The learning curves of several runs as a picture: against updates, and against minutes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .learning_curve import RunLog

# Okabe and Ito's colours, which colour-blind readers tell apart; the first is for the baseline.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LABEL_GAP = 0.055  # least distance of two labels, as a share of the height


def draw_learning_curves(path: str, runs: Mapping[str, RunLog]) -> None:
    """Draw validation loss against updates and against training minutes, into a PNG file.

    The first run is the one to beat: a dotted line marks its lowest loss, and a dot where each
    other run reaches it. More than two runs are named in the left panel only, and their
    dots carry no numbers.

    Args:
        path: file to write, 1600 pixels wide, made to be read at 800.
        runs: label -> log of the run; the first is the baseline. Colours repeat after 7.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=200, layout="constrained")
    by_updates, by_minutes = figure.subplots(1, 2, sharey=True)
    target = next(iter(runs.values())).best
    crowded = len(runs) > 2
    for axes, unit in ((by_updates, "updates"), (by_minutes, "minutes")):
        ends = []
        for index, (label, log) in enumerate(runs.items()):
            colour = _COLOURS[index % len(_COLOURS)]
            points = _curve(log, unit)
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8)
                ends.append((*points[-1], label, colour))
            if target and index > 0:
                _mark_crossing(axes, log, target.loss, unit, colour, named=not crowded)
        if target:
            axes.axhline(target.loss, color=_COLOURS[0], linewidth=0.9, linestyle=(0, (1, 2)))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=5)
        if axes is by_updates or not crowded:
            _label_ends(axes, ends)
    by_updates.set_ylabel("validation loss (bits per target token)")
    by_updates.set_xlabel("training length (updates)")
    by_minutes.set_xlabel("training time (minutes)")
    figure.savefig(path, format="png")


def _x(log: RunLog, updates: float, unit: str) -> float:
    """Return the place of an update on the horizontal axis, NaN where the log does not tell."""
    if unit == "updates":
        return updates
    below = math.floor(updates)
    seconds = [log.at(below).seconds, log.at(math.ceil(updates)).seconds]
    return (seconds[0] + (updates - below) * (seconds[1] - seconds[0])) / 60


def _curve(log: RunLog, unit: str) -> list[tuple[float, float]]:
    """Return the points (x, loss) that can be drawn."""
    points = [(_x(log, point.updates, unit), point.loss) for point in log.valid]
    return [point for point in points if all(map(math.isfinite, point))]


def _mark_crossing(
    axes: Any, log: RunLog, loss: float, unit: str, colour: str, named: bool
) -> None:
    """Put a dot where a run reaches a loss, with the number of updates or minutes below it."""
    updates = log.updates_to_reach(loss)
    if updates is None:
        return
    x = _x(log, updates, unit)
    axes.plot([x], [loss], "o", color=colour, markersize=5)
    if not named:
        return
    text = f"{x:.0f}" if unit == "updates" else f"{x:.1f}"
    axes.annotate(
        text,
        (x, loss),
        xytext=(-2, -9),
        textcoords="offset points",
        ha="right",
        va="top",
        color=colour,
        fontsize=9,
    )


def _label_ends(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each run's label to the right of its last point, labels apart from each other."""
    from matplotlib.patheffects import withStroke

    low, high = axes.get_ylim()
    gap = _LABEL_GAP * (high - low)
    height = -math.inf
    for x, loss, label, colour in sorted(ends, key=lambda end: end[1]):
        height = max(loss, height + gap)
        axes.annotate(
            label,
            (x, loss),
            xytext=(5, (height - loss) / (high - low) * _axes_points(axes)),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=10,
            parse_math=False,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    longest = max((end[0] for end in ends), default=0)
    if longest > 0:
        # Room for the labels, to the right of the lines, where the axis needs no numbers.
        axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= longest])
        axes.set_xlim(0, longest * 1.45)


def _axes_points(axes: Any) -> float:
    """Return the height of a panel in points of 1/72 inch."""
    figure_points: float = axes.figure.get_size_inches()[1] * 72
    return figure_points * axes.get_position().height
