"""Fewer points for a line that looks the same: extremes, ends and gaps are kept."""

import math

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 400

Points = list[tuple[float, float]]


def thin(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drop points between the first, least, largest and last of equally long parts of x.

    So any spike of one point stays, at its own place (the M4 aggregation of Jugel et al. 2014).
    A value that is not finite is a gap; the first of each part is kept.

    Args:
        x: (n,), not decreasing, finite.
        y: (n,), NaN or infinite at gaps.
        most: points to keep at most, >= 5; where there are gaps, up to a fourth more.

    Returns:
        x and y of the points kept, in their order; both as they were for at most ``most`` points.

    Example:
        >>> x, y = np.arange(1000.0), np.zeros(1000)
        >>> y[567] = 9.0
        >>> kept_x, kept_y = thin(x, y, 20)
        >>> len(kept_x) <= 20, kept_x[kept_y == 9.0]
        (True, array([567.]))
    """
    if len(x) <= most:
        return x, y
    parts = max(1, most // 4)
    span = x[-1] - x[0]
    share = (x - x[0]) / span if span > 0 else np.arange(len(x)) / len(x)
    part = np.minimum((share * parts).astype(int), parts - 1)
    kept: set[int] = set()
    for inside in np.split(np.arange(len(x)), np.flatnonzero(np.diff(part)) + 1):
        finite = inside[np.isfinite(y[inside])]
        if len(finite) < len(inside):
            kept.add(int(inside[~np.isfinite(y[inside])][0]))
        if len(finite):
            values = y[finite]
            extremes = finite[[int(np.argmin(values)), int(np.argmax(values))]]
            kept.update(int(index) for index in (finite[0], finite[-1], *extremes))
    order = np.array(sorted(kept))
    return x[order], y[order]


def segments(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[Points]:
    """Divide a line at its gaps.

    Args:
        x: (n,).
        y: (n,), NaN or infinite at gaps.

    Returns:
        Lists of points (x, y) without gaps between them.

    Example:
        >>> segments(np.array([1.0, 2.0, 3.0]), np.array([5.0, np.nan, 6.0]))
        [[(1.0, 5.0)], [(3.0, 6.0)]]
    """
    parts: list[Points] = [[]]
    for point in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(point[0]) and math.isfinite(point[1]):
            parts[-1].append(point)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]
