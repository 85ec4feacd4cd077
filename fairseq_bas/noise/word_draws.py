"""Draw how words are written, many at once, from tables that are made as words are met.

A word has few likely segmentations. They are worked out once; after that one look into an alias
table (Walker 1977) draws one of them. What is less likely ends in a state whose next steps are
tabled when they are first taken. Text without spaces, where a whole sentence is one word, is walked
through instead.

Shapes: E words, N ids of all their samples.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .alias_table import BITS, alias_table
from .random_walk import Outcome, Walk, likeliest, next_outcomes, walk_through
from .word_index import child_keys, ranges

LIMIT = 1 << 21
"""Outcomes that are tabled before that starts anew; they are no part of what is drawn."""
LONGEST = 32
"""Characters of a word beyond which nothing is tabled, as its states would fill the memory."""
LONG_LIMIT = 1 << 14
"""Long words that are kept before that starts anew."""


class WordDraws:
    """Draw words that are known by number; what is drawn depends on the word and the key only.

    Args:
        walk: what can be written.

    >>> from fairseq_bas.noise.random_walk import Choice
    >>> class Coin:
    ...     def begin(self, text):
    ...         return text
    ...     def choices(self, state):
    ...         return [Choice(0.5, [1, 2]), Choice(0.5, [3])]
    >>> draws = WordDraws(Coin())
    >>> words = [draws.add("a"), draws.add("b"), draws.add_fixed([7])]
    >>> ids, counts = draws.draw(np.array(words), np.array([2**62, -(2**62), 7]))
    >>> ids.tolist(), counts.tolist()
    ([1, 2, 3, 7], [2, 1, 1])
    """

    def __init__(self, walk: Walk):
        self._walk = walk
        self._clear()

    def _clear(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._states: list[Any] = []
        self._slots = _GrowingArray(2)  # by state: its first slot, -1 until tabled; how many
        # By slot: its own share of the slot, in units of 2**-BITS; the slot whose outcome has the
        # rest; state after its own outcome, -1 at the end; the first of its ids; how many.
        self._outcomes = _GrowingArray(5)
        self._ids = _GrowingArray()
        self._long: list[Any] = []  # states in which long words begin

    def make_room(self) -> bool:
        """Forget everything once too much is tabled, all numbers included; tell whether."""
        full = max(len(self._outcomes.filled), len(self._ids.filled) >> 3) > LIMIT
        full = full or len(self._long) > LONG_LIMIT
        if full:
            self._clear()
        return full

    def add(self, text: str) -> int:
        """Return the number of a text, -1 if it cannot be written."""
        state = self._walk.begin(text)
        if state is None:
            return -1
        if len(text) > LONGEST:
            self._long.append(state)
            return -1 - len(self._long)
        # Not the number of the state: where a word ends in the same state, one step is tabled.
        number = self._number(("word", state))
        if self._slots.filled[number, 0] < 0:
            self._table(number, likeliest(self._walk, state))
        return number

    def add_fixed(self, ids: Sequence[int]) -> int:
        """Return the number of what is always written as these ids."""
        number = self._number(("fixed", *ids))
        if self._slots.filled[number, 0] < 0:
            self._table(number, [Outcome(1.0, ids)])
        return number

    def draw(self, words: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw a sample of each word.

        Args:
            words: (E,) int64, numbers of words.
            keys: (E,) int64, what each sample is drawn from: random bits, used as they are.

        Returns:
            (N,) int64, the ids of all samples, joined; (E,) int64, how many each has.
        """
        places, states, met = np.arange(len(words)), words, []
        long = words < 0
        if long.any():
            met.append((np.flatnonzero(long), self._walked_through(words[long], keys[long])))
            places, states, keys = places[~long], words[~long], keys[~long]
        slots = self._slots.filled[states]
        while True:
            # The highest bits of the keys, times the number of slots.
            scaled = (keys >> (64 - BITS)) & (2**BITS - 1)
            scaled *= slots[:, 1]
            slot = slots[:, 0] + (scaled >> BITS)
            outcomes = self._outcomes.filled
            other = np.flatnonzero((scaled & (2**BITS - 1)) >= outcomes[slot, 0])
            slot[other] = outcomes[slot[other], 1]
            found = outcomes[slot]
            met.append((places, found))
            more = np.flatnonzero(found[:, 2] >= 0)
            if not len(more):
                break
            places, states = places[more], found[more, 2]
            keys = child_keys(keys[more], np.zeros(1, np.int64))
            slots = self._slots_of(states)
        return self._written(met, len(words))

    def _walked_through(self, words: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Draw long words; return rows as those of ``_outcomes``."""
        rows = []
        for word, key in zip(words.tolist(), keys.tolist(), strict=True):
            ids = walk_through(self._walk, self._long[-2 - word], key)
            rows.append((0, 0, -1, len(self._ids.filled), len(ids)))
            self._ids.extend(ids)
        return np.array(rows, np.int64)

    def _written(
        self, met: list[tuple[np.ndarray, np.ndarray]], num_words: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Join the ids of all steps, word by word."""
        places, found = met[0]
        if len(met) > 1:
            places, found = (np.concatenate(steps) for steps in zip(*met, strict=True))
            order = np.argsort(places, kind="stable")
            places, found = places[order], found[order]
        first, length = found[:, 3], found[:, 4]
        # Sums of lengths stay far below 2**53, so that float64 holds them.
        counts = np.bincount(places, length, minlength=num_words).astype(np.int64)
        return self._ids.filled[ranges(first, length)], counts

    def _number(self, state: Hashable) -> int:
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
            self._slots.extend([(-1, 0)])
        return number

    def _slots_of(self, states: np.ndarray) -> np.ndarray:
        """Return first slot and number of slots of states, after tabling those that are new."""
        slots = self._slots.filled[states]
        new = states[slots[:, 0] < 0]
        if len(new):
            for number in np.unique(new).tolist():
                self._table(number, next_outcomes(self._walk, self._states[number]))
            slots = self._slots.filled[states]
        return slots

    def _table(self, number: int, outcomes: Sequence[Outcome]) -> None:
        first, first_id = len(self._outcomes.filled), len(self._ids.filled)
        ids: list[int] = []
        rows = []
        slots = alias_table([outcome.probability for outcome in outcomes])
        for (share, other), outcome in zip(slots, outcomes, strict=True):
            state = -1 if outcome.state is None else self._number(outcome.state)
            rows.append((share, first + other, state, first_id + len(ids), len(outcome.ids)))
            ids += outcome.ids
        self._outcomes.extend(rows)
        self._ids.extend(ids)
        self._slots.filled[number] = first, len(rows)


class _GrowingArray:
    """Rows of int64 that are added at the end, in room that doubles."""

    def __init__(self, *shape: int):
        self._room, self._size = np.empty((1024, *shape), np.int64), 0

    @property
    def filled(self) -> np.ndarray:
        return self._room[: self._size]

    def extend(self, rows: Sequence[Any]) -> None:
        needed = self._size + len(rows)
        if needed > len(self._room):
            room = np.empty((max(needed, 2 * len(self._room)), *self._room.shape[1:]), np.int64)
            room[: self._size] = self.filled
            self._room = room
        if len(rows):
            self._room[self._size : needed] = rows
        self._size = needed
