"""A chart as SVG, to be part of a page that gives its colours: ``--c0`` to ``--c7`` and a few more.

Text takes ``currentColor`` and lines take CSS variables, so that one drawing serves a light and a
dark page. Nothing in it needs a script; a page may show values from ``data-points``.
"""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from .chart import Chart, Line
from .scale import Scale, tick_labels
from .thin import segments, thin

COLOURS = 8
"""Colours of a page; the lines of later runs are dashed as well."""
WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 40
_TICKS_X, _TICKS_Y = 5, 5
_DOTS = 60  # more points than these get no dots


def svg_of(chart: Chart) -> str:
    """Draw a chart.

    Args:
        chart: what to draw.

    Returns:
        An ``svg`` element with title and description; all text is escaped.
    """
    x_scale, y_scale = chart.x_scale(), chart.y_scale()
    identity = f"chart-{escape(chart.key)}"
    parts = [
        f'<svg id="{identity}" class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{identity}-title {identity}-desc" '
        f'data-x="{escape(chart.x_label)}" data-low="{x_scale.low:.6g}" '
        f'data-high="{x_scale.high:.6g}" data-left="{LEFT}" data-width="{WIDTH - LEFT - RIGHT}" '
        f'data-top="{TOP}" data-base="{HEIGHT - BOTTOM}">',
        f'<title id="{identity}-title">{escape(chart.title)}</title>',
        f'<desc id="{identity}-desc">{escape(chart.description())}</desc>',
        *_grid(y_scale),
        *_x_axis(x_scale, chart.x_label),
        *(_line(line, x_scale, y_scale) for line in chart.lines),
        '<g class="cursor"></g></svg>',
    ]
    return "\n".join(parts)


def x_of(scale: Scale, value: float) -> float:
    """Return the place of a value from the left, in units of the drawing."""
    return LEFT + scale.place(value) * (WIDTH - LEFT - RIGHT)


def y_of(scale: Scale, value: float) -> float:
    """Return the place of a value from above, in units of the drawing."""
    return HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM)


def _grid(scale: Scale) -> list[str]:
    """Return horizontal lines with their values."""
    ticks = scale.ticks(_TICKS_Y)
    parts = []
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        y = y_of(scale, tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{label}</text>'
        )
    return parts


def _x_axis(scale: Scale, label: str) -> list[str]:
    base = HEIGHT - BOTTOM
    ticks = scale.ticks(_TICKS_X)
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>']
    for tick, text in zip(ticks, tick_labels(ticks), strict=True):
        x = x_of(scale, tick)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 4}"/>'
            f'<text class="tick" x="{x:.1f}" y="{base + 16}" text-anchor="middle">{text}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(label)}</text>"
    )
    return parts


def _line(line: Line, x_scale: Scale, y_scale: Scale) -> str:
    """Return the path of a line, dots where it is strong, and its values for a script."""
    allowed = np.array([y_scale.holds(value) for value in line.y.tolist()], dtype=bool)
    x, y = thin(line.x, np.where(allowed, line.y, math.nan))
    parts = segments(x, y)
    style = "strong" if line.strong else "thin"
    dashes = " dashed" if line.colour >= COLOURS else ""
    colour = line.colour % COLOURS
    places = [
        [(x_of(x_scale, point[0]), y_of(y_scale, point[1])) for point in part] for part in parts
    ]
    points = [point for part in parts for point in part]
    dots = ""
    if line.dots and len(points) <= _DOTS:
        dots = "".join(
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.2"/>' for part in places for px, py in part
        )
    elif any(len(part) == 1 for part in places):
        alone = [part[0] for part in places if len(part) == 1]
        dots = "".join(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="1.5"/>' for px, py in alone)
    return (
        f'<g class="line {style}{dashes} c{colour}" data-name="{escape(line.label)}" '
        f'data-points="{_data(points)}"><path d="{_path(places)}"/>{dots}</g>'
    )


def _path(parts: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Return a path through points, broken at gaps."""
    return "".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in part) for part in parts if len(part) > 1
    )


def _data(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.6g},{y:.5g}" for x, y in points)
