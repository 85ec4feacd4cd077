"""What figures of gradient measurements share."""

from typing import Any

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def colour(number: int) -> str:
    """Return the colour of a line; they come again after seven."""
    return COLOURS[number % len(COLOURS)]


def new_figure(title: str) -> tuple[Any, Any]:
    """Return a figure and its two panels, side by side.

    Args:
        title: of the figure.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), dpi=200, layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    panels = figure.subplots(1, 2, width_ratios=(3, 2))
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
    return figure, panels


def grouped(value: float, _: object = None) -> str:
    """Return a number for an axis.

    >>> grouped(20000.0), grouped(0.5)
    ('20,000', '0.5')
    """
    return f"{value:,.10g}"


def abbreviated(value: float, _: object = None) -> str:
    """Return a large number for an axis in few letters.

    >>> abbreviated(20000.0), abbreviated(1e7), abbreviated(500.0)
    ('20k', '10M', '500')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
