"""A chart as data: what is drawn, whoever draws it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .scale import Scale, scale_for, short_number


@dataclass(frozen=True, eq=False)
class Line:
    """Hold one line.

    Args:
        run: name of the run.
        part: what of it, such as ``train`` or ``valid``; empty if the chart shows one thing only.
        x: (n,), not decreasing.
        y: (n,), NaN at gaps.
        colour: index of the run's colour.
        strong: drawn thick; else thin.
        dots: with a dot at each point, where there are few.
    """

    run: str
    part: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: int
    strong: bool = False
    dots: bool = False

    @property
    def label(self) -> str:
        """Return the run and the part."""
        return f"{self.run}, {self.part}" if self.part else self.run


@dataclass(frozen=True, eq=False)
class Chart:
    """Hold lines and their axes.

    Args:
        key: short name for files, of ``a-z0-9-``.
        title: what is drawn.
        x_label: of the horizontal axis.
        y_label: of the vertical axis, with its unit.
        lines: at least one.
        log: whether the vertical axis is logarithmic.
        zero: whether it begins at 0.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    log: bool = False
    zero: bool = False

    def x_scale(self) -> Scale:
        """Return the horizontal axis, from 0."""
        values = [value for line in self.lines for value in line.x[np.isfinite(line.y)].tolist()]
        return scale_for(values, zero=True)

    def y_scale(self) -> Scale:
        """Return the vertical axis."""
        return scale_for([v for line in self.lines for v in line.y.tolist()], self.log, self.zero)

    def description(self) -> str:
        """Return what a reader who does not see the chart has to know.

        Example:
            >>> line = Line("a", "", np.array([1.0, 2.0]), np.array([8.0, 7.0]), 0)
            >>> Chart("loss", "Loss", "updates", "bits", [line]).description()
            'Loss, bits, over updates. a: from 8 to 7, lowest 7, highest 8.'
        """
        parts = [f"{self.title}, {self.y_label}, over {self.x_label}."]
        for line in self.lines:
            row = summary_of(line)
            parts.append(
                f"{line.label}: from {row[0]} to {row[3]}, lowest {row[1]}, highest {row[2]}."
            )
        return " ".join(parts)


def summary_of(line: Line) -> tuple[str, str, str, str]:
    """Return the first, lowest, highest and last value of a line as text."""
    finite = line.y[np.isfinite(line.y)]
    if not len(finite):
        return ("-",) * 4
    first, low, high, last = (
        short_number(float(value)) for value in (finite[0], finite.min(), finite.max(), finite[-1])
    )
    return first, low, high, last


@dataclass(frozen=True)
class Row:
    """Hold charts that stand together.

    Args:
        heading: above them.
        charts: at least one.
    """

    heading: str
    charts: Sequence[Chart]
