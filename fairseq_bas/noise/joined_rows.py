"""Rows of whole numbers kept one behind another in one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class GrowingArray:
    """Keep rows of int64 that are added at the end, in room that doubles.

    Args:
        *shape: of a row; without it rows are numbers.

    >>> array = GrowingArray(2)
    >>> array.extend([(1, 2), (3, 4)])
    >>> array.filled.tolist()
    [[1, 2], [3, 4]]
    >>> array.cut(1)
    >>> array.filled.tolist()
    [[1, 2]]
    """

    def __init__(self, *shape: int):
        self._room, self._size = np.empty((1024, *shape), np.int64), 0

    @property
    def filled(self) -> np.ndarray:
        """Return all rows; good until rows are added."""
        return self._room[: self._size]

    def extend(self, rows: Sequence[Any] | np.ndarray) -> None:
        """Add rows at the end."""
        needed = self._size + len(rows)
        if needed > len(self._room):
            room = np.empty((max(needed, 2 * len(self._room)), *self._room.shape[1:]), np.int64)
            room[: self._size] = self.filled
            self._room = room
        if len(rows):
            self._room[self._size : needed] = rows
        self._size = needed

    def cut(self, size: int) -> None:
        """Remove the rows after the first so many."""
        self._size = min(size, self._size)


def ranges(first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Join ranges of whole numbers.

    >>> ranges(np.array([5, 8, 1]), np.array([2, 0, 3])).tolist()
    [5, 6, 1, 2, 3]
    """
    if not length.all():
        first, length = first[length > 0], length[length > 0]
    if not len(length):
        return np.empty(0, np.int64)
    ends = np.cumsum(length)
    steps = np.ones(ends[-1], np.int64)
    steps[0] = first[0]
    steps[ends[:-1]] = first[1:] - (first[:-1] + length[:-1] - 1)
    return np.cumsum(steps, out=steps)
