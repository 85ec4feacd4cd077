"""A chart as a PNG file, by matplotlib, for slides and papers."""

import io
import math
from typing import Any

import numpy as np

from .chart import Chart
from .scale import tick_labels
from .style import LIGHT
from .thin import thin


def png_of(chart: Chart) -> bytes:
    """Draw a chart on white.

    Args:
        chart: what to draw.

    Returns:
        The content of a PNG file, 1200 pixels wide.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=200, layout="constrained")
    draw(chart, figure.subplots())
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def draw(chart: Chart, axes: Any) -> None:
    """Draw a chart into axes of matplotlib.

    Args:
        chart: what to draw.
        axes: ``matplotlib.axes.Axes``.
    """
    x_scale, y_scale = chart.x_scale(), chart.y_scale()
    for line in chart.lines:
        kept = [value if y_scale.holds(value) else math.nan for value in line.y.tolist()]
        x, y = thin(line.x, np.array(kept))
        axes.plot(
            x,
            y,
            label=line.label.replace("$", r"\$"),
            color=LIGHT[line.colour % len(LIGHT)],
            linewidth=1.8 if line.strong else 1.0,
            alpha=1.0 if line.strong else 0.6,
            linestyle="--" if line.colour >= len(LIGHT) else "-",
            marker="o" if line.dots and len(x) <= 60 else None,
            markersize=3,
        )
    if y_scale.log:
        axes.set_yscale("log")
    ticks = y_scale.ticks(5)
    axes.set_yticks(ticks, tick_labels(ticks))
    axes.minorticks_off()
    axes.set_xlim(x_scale.low, x_scale.high)
    axes.set_ylim(y_scale.low, y_scale.high)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_title(chart.title, loc="left", fontsize=11)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.legend(frameon=False, fontsize=8)
