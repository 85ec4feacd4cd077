"""One random number that decides a whole sequence of choices, and what is known of its decisions.

As in arithmetic coding, every outcome owns an interval of [0, 1), as long as its probability. A
word has few likely segmentations, so most draws fall into an interval that is known already, and
cost a search instead of a walk through the model.
"""

import random
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import shake_128

SHORTEST = 2.0**-30
"""Length of an interval below which 53 bits would no longer give choices their probabilities."""
CACHE = 1 << 17
"""Intervals that are remembered before that starts anew; they are no part of what is drawn."""


def numbers(seed: int, count: int) -> list[float]:
    """Return random numbers in [0, 1) that a seed stands for, by hashing it (SHAKE128).

    ``random.Random`` takes longer to begin than a sentence takes to be segmented.

    Args:
        seed: a whole number, of which the low 64 bits count.
        count: how many.

    >>> numbers(1, 2) == numbers(1, 3)[:2]
    True
    """
    key = (seed & (2**64 - 1)).to_bytes(8, "little")
    drawn = struct.unpack(f"<{count}Q", shake_128(b"subword " + key).digest(8 * count))
    return [(bits >> 11) * 2.0**-53 for bits in drawn]


class Point:
    """A random number, with the interval that the choices made so far leave it.

    Args:
        value: in [0, 1).

    >>> point = Point(0.134)
    >>> point.choose([1.0, 4.0]), point.choose([1.0, 4.0]), point.low, point.high
    (0, 1, 0.0625, 0.25)
    """

    def __init__(self, value: float):
        self.value = value
        self._more: random.Random | None = None
        self.low, self.high = 0.0, 1.0

    @property
    def is_whole(self) -> bool:
        """Whether the number itself decided everything up to now."""
        return self._more is None

    def choose(self, cumulated: Sequence[float]) -> int:
        """Choose an index, in proportion to weights given as their running sums, and narrow down.

        Comparing with the very bounds that are kept makes an interval hold all numbers that lead to
        it and no other.
        """
        scale = (self.high - self.low) / cumulated[-1]
        bounds = [min(self.low + scale * weight, self.high) for weight in cumulated]
        bounds[-1] = self.high
        index = bisect_right(bounds, self.value)
        self.high = bounds[index]
        if index:
            self.low = bounds[index - 1]
        if self.high - self.low < SHORTEST:
            # What is left of its bits picks the numbers that decide the rest.
            self._more = self._more or random.Random(self.value)
            self.value, self.low, self.high = self._more.random(), 0.0, 1.0
        return index


Known = tuple[list[float], list[float], list[list[int] | None]]
"""Where intervals begin, ascending, where each ends, and the ids it stands for; one comes first
that holds nothing, so that a search finds an interval always."""
NOTHING_KNOWN: Known = ([-1.0], [-1.0], [None])
Segment = Callable[[str, Point], list[str] | None]


class RememberedDraws:
    """Draw the ids of a text's pieces, walking through the model for new outcomes only.

    Args:
        segment: takes a text and a point, returns pieces, or None if it cannot.
        id_of: number of each piece.

    >>> draws = RememberedDraws(lambda text, point: [text[point.choose([1.0, 2.0])]], {"a": 5})
    >>> draws(["aa"], [0.134])
    [5]
    """

    def __init__(self, segment: Segment, id_of: Mapping[str, int]):
        self._segment, self._id_of = segment, id_of
        self._known: dict[str, Known] = {}
        self._size = 0

    def __call__(self, texts: Iterable[str], values: Iterable[float]) -> list[int] | None:
        """Return the ids that numbers stand for, one number a text.

        Args:
            texts: one after the other.
            values: as many in [0, 1).

        Returns:
            The ids of all texts, joined; None if the model cannot segment one of them.
        """
        known, found = self._known, []
        for text, value in zip(texts, values, strict=True):
            lows, highs, outcomes = known.get(text, NOTHING_KNOWN)
            index = bisect_right(lows, value) - 1
            ids = outcomes[index] if value < highs[index] else self._walk(text, Point(value))
            if ids is None:
                return None
            found += ids
        return found

    def _walk(self, text: str, point: Point) -> list[int] | None:
        pieces = self._segment(text, point)
        # A character that is no piece of its own is left over where all its merges are dropped.
        ids = None
        if pieces is not None and all(piece in self._id_of for piece in pieces):
            ids = [self._id_of[piece] for piece in pieces]
        if point.is_whole:
            self._remember(text, point, ids)
        return ids

    def _remember(self, text: str, point: Point, ids: list[int] | None) -> None:
        if self._size >= CACHE:
            self._known.clear()
            self._size = 0
        lows, highs, outcomes = self._known.setdefault(text, ([-1.0], [-1.0], [None]))
        index = bisect_right(lows, point.low)
        lows.insert(index, point.low)
        highs.insert(index, point.high)
        outcomes.insert(index, ids)
        self._size += 1
