"""A landscape as a picture: curves of loss and BLEU or perplexity, or planes as contour maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .landscape_report import view_names
from .landscape_run import Landscape, perplexity
from .surface_report import short_names

# Okabe and Ito's colours, which colour-blind readers tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLES = ("-", "--", ":", "-.")
_MANY = 8  # times that values grow, from which on an axis is logarithmic
_LEVELS = 12


def draw_landscape(path: str, landscape: Landscape) -> None:
    """Draw a landscape into a PNG file.

    Lines, curves and slices: the loss of every split, and below it BLEU, or perplexity where it was
    not asked for. Planes: a contour map of the loss for every checkpoint and split, all with the
    same levels; a cross marks the checkpoint.

    Args:
        path: file to write, 1600 pixels wide or more, made to be read at half that.
        landscape: what was measured.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    if landscape.kind == "plane":
        _draw_planes(path, landscape)
    else:
        _draw_curves(path, landscape)


def _draw_curves(path: str, landscape: Landscape) -> None:
    from matplotlib.figure import Figure

    panels = _panels(landscape)
    figure = Figure(figsize=(8, 1 + 2.8 * len(panels)), dpi=200, layout="constrained")
    stack = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
    for axes, (label, curves) in zip(stack, panels.items(), strict=True):
        for curve in curves:
            axes.plot(
                landscape.axis,
                curve.heights,
                color=curve.colour,
                linestyle=curve.style,
                linewidth=1.8,
                marker="o",
                markersize=2.5,
                label=curve.name,
            )
        axes.set_ylabel(label)
        _dress(axes, [height for curve in curves for height in curve.heights])
    _mark_ends(stack, landscape)
    stack[0].legend(frameon=False, fontsize=9)
    figure.align_ylabels()
    figure.savefig(path, format="png")


@dataclass(frozen=True)
class _Curve:
    """Hold one line of a panel."""

    name: str
    heights: list[float]
    colour: str
    style: str


def _panels(landscape: Landscape) -> dict[str, list[_Curve]]:
    """Return the curves of each panel under the name of its axis."""
    losses, ppls, bleus = [], [], []
    names = view_names(landscape)
    for index, (name, view) in enumerate(zip(names, landscape.views, strict=True)):
        for place, split in enumerate(landscape.splits):
            heights = [value[split] for value in view.values]
            # Colours tell checkpoints apart, if there are several, else splits.
            colour = _COLOURS[(index if len(names) > 1 else place) % len(_COLOURS)]
            curve = _Curve(
                ", ".join(filter(None, (name, split))),
                heights,
                colour,
                _STYLES[place % len(_STYLES)],
            )
            losses.append(curve)
            ppls.append(replace(curve, heights=[perplexity(height) for height in heights]))
        if landscape.bleu:  # of the last split
            bleus.append(replace(curve, heights=[value["bleu"] for value in view.values]))
    panels = {"loss (nats per token)": losses}
    if landscape.bleu:
        panels[f"BLEU, {landscape.bleu['split']}"] = bleus
    elif landscape.has_perplexity:
        panels["perplexity"] = ppls
    return panels


def _mark_ends(stack: Sequence[Any], landscape: Landscape) -> None:
    """Mark where the checkpoints are, and say which."""
    stack[-1].set_xlabel("alpha")
    ends = landscape.views[0].paths if landscape.kind in ("line", "curve") else ["checkpoint"]
    names = short_names(ends) if len(ends) > 1 else ends
    for place, name in zip((0, 1), names, strict=False):
        if landscape.axis[0] <= place <= landscape.axis[-1]:
            for axes in stack:
                axes.axvline(place, color="0.5", linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
            stack[0].annotate(
                name,
                (place, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                parse_math=False,
            )


def _dress(axes: Any, values: Sequence[float]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    known = [value for value in values if math.isfinite(value)]
    if known and min(known) > 0 and max(known) / min(known) >= _MANY:
        from matplotlib.ticker import LogLocator, NullLocator

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _draw_planes(path: str, landscape: Landscape) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    maps = _maps(landscape)
    levels = _levels(list(maps.values()))
    rows, columns = len(landscape.views), len(landscape.splits)
    size = (0.8 + 3.9 * columns, 0.5 + 3.5 * rows)
    figure = Figure(figsize=size, dpi=200, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, values) in zip(grid.flat, maps.items(), strict=True):
        filled = _draw_map(axes, landscape.axis, values, levels)
        axes.set_title(name, fontsize=10, parse_math=False)
    for axes in grid[-1]:
        axes.set_xlabel("direction 1")
    for axes in grid[:, 0]:
        axes.set_ylabel("direction 2")
    bar = figure.colorbar(filled, ax=grid, label="loss (nats per token)", ticks=levels[::2])
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    bar.ax.yaxis.set_minor_locator(NullLocator())
    figure.savefig(path, format="png")


def _maps(landscape: Landscape) -> dict[str, np.ndarray]:
    """Return for each view and split the losses; rows are the second direction."""
    size = len(landscape.axis)
    names = view_names(landscape)
    return {
        ", ".join(filter(None, (name, split))): np.array([value[split] for value in view.values])
        .reshape(size, size)
        .T
        for name, view in zip(names, landscape.views, strict=True)
        for split in landscape.splits
    }


def _levels(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return losses at equal ratios from the lowest to the highest of all maps."""
    known = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in maps])
    if not len(known):
        raise ValueError("no loss of the plane is finite, so it has no map; pass a smaller --to")
    low, high = float(known.min()), float(known.max())
    return np.geomspace(low, max(high, low * 1.001), _LEVELS)


def _draw_map(axes: Any, axis: Sequence[float], values: np.ndarray, levels: np.ndarray) -> Any:
    """Draw one contour map and return what its colour bar belongs to."""
    from matplotlib.colors import LogNorm

    shades = {"norm": LogNorm(levels[0], levels[-1]), "cmap": "cividis"}
    # The extremes are the outer levels but for rounding.
    inside = np.clip(values, levels[0], levels[-1])
    filled = axes.contourf(axis, axis, inside, levels=levels, **shades)
    lines = axes.contour(axis, axis, values, levels=levels[1:-1], colors="white", linewidths=0.6)
    axes.clabel(lines, fontsize=7, fmt=lambda value: f"{value:.3g}")
    axes.plot(0, 0, "+", color="white", markersize=9)
    axes.set_aspect("equal")
    return filled
