"""Find the numbers of words, many at once.

Shapes: N ids of all words, joined, W words, K words that are known.
"""

from collections.abc import Callable

import numpy as np

from .keyed import GOLDEN_GAMMA, MULTIPLIERS

_MULTIPLIERS = np.array(MULTIPLIERS).view(np.uint64)


class WordIndex:
    """Give words the numbers that a function gave them when they were met first.

    Known words are found by a hash of their ids and then compared id by id, all of them at once.

    Args:
        number_of: takes the ids of a word (T,) int64 and returns its number.

    >>> index = WordIndex(lambda ids: int(ids.sum()))
    >>> index.find(np.array([4, 1, 4, 2]), np.array([0, 1, 2])).tolist()
    [4, 1, 6]
    """

    def __init__(self, number_of: Callable[[np.ndarray], int]):
        self._number_of = number_of
        self.clear()

    def clear(self) -> None:
        """Forget all words."""
        self._numbers: dict[bytes, int] = {}
        self._hashes = np.empty(0, np.int64)
        # By hash: the number of the word, the first of its ids among those kept, how many.
        self._words = np.empty((0, 3), np.int64)
        self._ids = np.empty(0, np.int64)

    def find(self, ids: np.ndarray, begins: np.ndarray) -> np.ndarray:
        """Return the number of each word.

        Args:
            ids: (N,) int64.
            begins: (W,) where words begin, ascending, the first at 0; each ends where the next
                begins.

        Returns:
            (W,) int64.
        """
        if not len(begins):
            return np.empty(0, np.int64)
        lengths = np.diff(begins, append=len(ids))
        places = np.arange(len(ids)) - np.repeat(begins, lengths)
        hashes = np.add.reduceat(child_keys(ids, places), begins)
        numbers = self._look_up(hashes, ids, begins, lengths)
        new = np.flatnonzero(numbers < -1)
        if len(new):
            words = [ids[b : b + n] for b, n in zip(begins[new], lengths[new], strict=True)]
            numbers[new] = [self._add(word) for word in words]
            self._insert(hashes[new], numbers[new], words)
        return numbers

    def _look_up(
        self, hashes: np.ndarray, ids: np.ndarray, begins: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """Return the numbers of known words, and -2 for others."""
        if not len(self._hashes):
            return np.full(len(begins), -2)
        found = np.searchsorted(self._hashes, hashes)
        found[found == len(self._hashes)] = 0
        words = self._words[found]
        same = (self._hashes[found] == hashes) & (words[:, 2] == lengths)
        kept = self._ids[ranges(np.where(same, words[:, 1], 0), np.where(same, lengths, 0))]
        theirs = ids if same.all() else ids[np.repeat(same, lengths)]
        numbers = np.where(same, words[:, 0], -2)
        if not np.array_equal(kept, theirs):
            differs = np.repeat(np.flatnonzero(same), lengths[same])[kept != theirs]
            numbers[differs] = -2
        return numbers

    def _add(self, word: np.ndarray) -> int:
        content = word.tobytes()
        if content not in self._numbers:
            self._numbers[content] = self._number_of(word)
        return self._numbers[content]

    def _insert(self, hashes: np.ndarray, numbers: np.ndarray, words: list[np.ndarray]) -> None:
        """Keep new words, but those whose hash another word has."""
        hashes, chosen = np.unique(hashes, return_index=True)
        at = np.searchsorted(self._hashes, hashes)
        if len(self._hashes):
            free = self._hashes[np.minimum(at, len(self._hashes) - 1)] != hashes
            hashes, chosen, at = hashes[free], chosen[free], at[free]
        lengths = np.array([len(words[i]) for i in chosen], np.int64)
        first = len(self._ids) + np.cumsum(lengths) - lengths
        rows = np.stack((numbers[chosen], first, lengths), axis=1)
        self._ids = np.concatenate([self._ids, *(words[i] for i in chosen)])
        self._hashes = np.insert(self._hashes, at, hashes)
        self._words = np.insert(self._words, at, rows, axis=0)


def child_keys(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Derive a key from each key and number.

    Args:
        keys: (E,) int64.
        numbers: (E,) int64, or of a shape that goes with ``keys``; not below 0.

    Returns:
        int64, of the shape that both have together.

    The first number that SplitMix64 makes from the seed 0:

    >>> hex(child_keys(np.array([0]), np.array([0])).item() % 2**64)
    '0xe220a8397b1dcdaf'
    """
    return _mix((keys + (numbers + 1) * GOLDEN_GAMMA).view(np.uint64)).view(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """Scramble uint64 numbers in place, as `keyed.mix` does; here torch would be slower."""
    shifted = np.empty_like(x)
    for places, factor in zip((30, 27), _MULTIPLIERS, strict=True):
        np.right_shift(x, np.uint64(places), out=shifted)
        x ^= shifted
        x *= factor
    np.right_shift(x, np.uint64(31), out=shifted)
    x ^= shifted
    return x


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
