"""Find the numbers of words, many at once.

Shapes: N ids of all words, joined, W words, V ids that there are.
"""

from collections.abc import Callable

import numpy as np

from .joined_rows import GrowingArray, ranges

_SMALLEST_TABLE = 1 << 10
_SLOTS_A_WORD = 4
_UNKNOWN = -(2**63)  # no number


class WordIndex:
    """Give words the numbers that a function gave them when they were met first.

    Known words are found by a hash of their ids and then compared id by id, all of them at once.

    Args:
        codes: (V,) int64, random bits for every id, which hashes are made of.
        number_of: takes the ids of a word (T,) int64 and returns its number.

    >>> index = WordIndex(np.array([3, 1, 4, 1, 5]), lambda ids: int(ids.sum()))
    >>> index.find(np.array([4, 1, 4, 2]), np.array([0, 1, 2])).tolist()
    [4, 1, 6]
    """

    def __init__(self, codes: np.ndarray, number_of: Callable[[np.ndarray], int]):
        self._codes, self._number_of = codes, number_of
        self.clear()

    def clear(self) -> None:
        """Forget all words."""
        self._numbers: dict[bytes, int] = {}
        # Of each kept word: its hash, its number, the first of its ids, how many. No word has a
        # length of -1, so the first row is what is found where nothing is kept.
        self._kept = GrowingArray(4)
        self._kept.extend([(0, _UNKNOWN, 0, -1)])
        self._ids = GrowingArray()
        # Rows of kept words, each at the first free place from its hash on.
        self._table = np.zeros(_SMALLEST_TABLE, np.int64)

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
        # Times an odd number for each place, as the order of ids counts.
        factors = np.arange(1, 2 * len(ids), 2) - np.repeat(2 * begins, lengths)
        hashes = np.add.reduceat(self._codes.take(ids) * factors, begins)
        numbers = self._look_up(hashes, ids, begins, lengths)
        new = np.flatnonzero(numbers == _UNKNOWN)
        if len(new):
            words = [ids[b : b + n] for b, n in zip(begins[new], lengths[new], strict=True)]
            numbers[new] = [self._add(word) for word in words]
            for key, number, word in zip(hashes[new].tolist(), numbers[new], words, strict=True):
                self._keep(key, number, word)
        return numbers

    def _look_up(
        self, hashes: np.ndarray, ids: np.ndarray, begins: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """Return the numbers of words that are kept, and of others that they are unknown."""
        known, numbers, first, length = self._kept.filled.take(self._rows(hashes), axis=0).T
        same = (known == hashes) & (length == lengths)
        kept = self._ids.filled.take(ranges(first[same], length[same]))
        theirs = ids if same.all() else ids[np.repeat(same, lengths)]
        numbers = np.where(same, numbers, _UNKNOWN)
        if not np.array_equal(kept, theirs):
            differs = np.repeat(np.flatnonzero(same), lengths[same])[kept != theirs]
            numbers[differs] = _UNKNOWN
        return numbers

    def _rows(self, hashes: np.ndarray) -> np.ndarray:
        """Return the rows that have the hashes; 0 where none has."""
        mask, known = len(self._table) - 1, self._kept.filled[:, 0]
        slots = hashes & mask
        rows = self._table.take(slots)
        others = np.flatnonzero((known.take(rows) != hashes) & (rows > 0))
        while len(others):
            slots[others] = (slots[others] + 1) & mask
            rows[others] = found = self._table.take(slots[others])
            others = others[(known.take(found) != hashes[others]) & (found > 0)]
        return rows

    def _add(self, word: np.ndarray) -> int:
        content = word.tobytes()
        if content not in self._numbers:
            self._numbers[content] = self._number_of(word)
        return self._numbers[content]

    def _keep(self, key: int, number: int, word: np.ndarray) -> None:
        """Keep a word, unless its hash belongs to one that is kept."""
        if self._rows(np.array([key]))[0]:
            return
        self._kept.extend([(key, number, len(self._ids.filled), len(word))])
        self._ids.extend(word)
        count = len(self._kept.filled)
        if _SLOTS_A_WORD * count > len(self._table):
            self._table = np.zeros(2 * len(self._table), np.int64)
            for row in range(1, count):
                self._place(row)
        else:
            self._place(count - 1)

    def _place(self, row: int) -> None:
        mask = len(self._table) - 1
        slot = int(self._kept.filled[row, 0]) & mask
        while self._table[slot]:
            slot = (slot + 1) & mask
        self._table[slot] = row
