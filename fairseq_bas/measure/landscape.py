"""The loss along lines and planes through the space of parameters.

The line and the curve between two models are those of Keskar et al. 2016 (arXiv 1609.04836),
section 2.2; slices and planes around one model those of Li et al. 2018 (arXiv 1712.09913).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from .loss_surface import LossSurface

Path = Callable[..., Tensor]
"""Coordinates, one number or two -> point (n,)."""

_DIGITS = 15


def line(start: Tensor, end: Tensor) -> Path:
    """Return the straight line a -> (1 - a) start + a end.

    At 0 and 1 it is the given points exactly.

    Args:
        start: (n,), e.g. the parameters of a model trained with small batches.
        end: (n,), e.g. of one trained with large batches.

    >>> line(torch.tensor([1.0]), torch.tensor([3.0]))(0.25)
    tensor([1.5000])
    """
    return lambda alpha: (1 - alpha) * start + alpha * end


def curve(start: Tensor, end: Tensor) -> Path:
    """Return the curve a -> cos(a pi/2) start + sin(a pi/2) end.

    It is ``start`` at 0, ``end`` at 1, and keeps the norm where both are orthogonal and equal in
    norm.

    Args:
        start: (n,).
        end: (n,).

    >>> curve(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))(0.5)
    tensor([0.7071, 0.7071])
    """

    def at(alpha: float) -> Tensor:
        angle = alpha * math.pi / 2
        # Rounded, because the cosine of the nearest float to pi/2 is not 0.
        return round(math.cos(angle), _DIGITS) * start + round(math.sin(angle), _DIGITS) * end

    return at


def plane(origin: Tensor, *directions: Tensor) -> Path:
    """Return the slice a, b, ... -> origin + a d1 + b d2 + ...

    Args:
        origin: (n,), the parameters of a model.
        *directions: (n,) each, e.g. filter-normalised random ones; one makes a line.

    >>> plane(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))(2.0, 3.0)
    tensor([2., 3.])
    """

    def at(*coordinates: float) -> Tensor:
        point = origin.clone()
        for coordinate, direction in zip(coordinates, directions, strict=True):
            point.add_(direction, alpha=coordinate)
        return point

    return at


def evenly(first: float, last: float, points: int) -> list[float]:
    """Return coordinates at equal distances; those meant to be whole are exactly so.

    Args:
        first: the least.
        last: the largest, > first.
        points: how many, >= 2.

    Raises:
        ValueError: if they make no row.

    >>> evenly(-1, 2, 4)
    [-1.0, 0.0, 1.0, 2.0]
    """
    if points < 2 or not -math.inf < first < last < math.inf:
        raise ValueError(
            f"{points} points from {first:g} to {last:g} make no row; "
            "pass two points or more, and a first one that is less than the last"
        )
    step = (last - first) / (points - 1)
    return [round(first + index * step, _DIGITS - 3) for index in range(points)]


def evaluate_along(
    surface: LossSurface,
    path: Path,
    coordinates: Sequence[tuple[float, ...]],
    measures: Mapping[str, Callable[[], float]],
) -> Iterator[dict[str, float]]:
    """Yield what is measured at each point of a path.

    Args:
        surface: any loss surface of the model; its parameters are moved and, when the last point
            was yielded or the iteration is closed, exactly as before.
        path: coordinates -> point (n,).
        coordinates: of the points, one tuple each.
        measures: name -> function that measures the model as it stands.

    Yields:
        name -> value, in the order of the coordinates.
    """
    with surface.moved(surface.point()):
        for coordinate in coordinates:
            surface.move_to(path(*coordinate))
            with torch.no_grad():  # not while the caller has its turn
                values = {name: measure() for name, measure in measures.items()}
            yield values
