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
from .counter_hash import child_keys
from .joined_rows import GrowingArray, ranges
from .random_walk import Outcome, Walk, likeliest, next_outcomes, walk_through

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
        self._slots = GrowingArray(2)  # by state: its first slot, -1 until tabled; how many
        # By slot: the share of its own outcome, in units of 2**-BITS; whose outcome has the rest.
        self._aliases = GrowingArray(2)
        # By slot: the state after its own outcome, -1 at the end; the first of its ids; how many.
        self._outcomes = GrowingArray(3)
        self._ids = GrowingArray()
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
        long = np.flatnonzero(words < 0)
        if len(long):
            long_words, words = words[long], words.copy()
            words[long] = self.add_fixed(())
        states, first, count = self._step(words, keys)
        if len(long):
            first[long], count[long] = self._walk_through(long_words, keys[long])
        num_ids, on = count, np.flatnonzero(states >= 0)
        if len(on):
            places, *more = self._go_on(on, states[on], keys[on])
            num_ids = count + np.bincount(places, more[1], len(count)).astype(np.int64)
            first, count = (
                np.insert(old, places + 1, new)
                for old, new in zip((first, count), more, strict=True)
            )
        return self._ids.filled.take(ranges(first, count)), num_ids

    def _go_on(
        self, places: np.ndarray, states: np.ndarray, keys: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Walk to the end from some states.

        Args:
            places: (P,) int64, whose states they are, ascending.
            states: (P,) int64.
            keys: (P,) int64, those of the steps that led there.

        Returns:
            Of all steps, place by place: the place, where the ids begin, how many they are.
        """
        steps = []
        while len(places):
            keys = child_keys(keys, np.zeros(1, np.int64))
            states, first, count = self._step(states, keys)
            steps.append((places, first, count))
            on = states >= 0
            places, states, keys = places[on], states[on], keys[on]
        places, first, count = (np.concatenate(column) for column in zip(*steps, strict=True))
        order = np.argsort(places, kind="stable")
        return places[order], first[order], count[order]

    def _step(self, states: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Take a step from each state: the state after it, where its ids begin, how many they are.

        Returns:
            (3, E) int64.
        """
        slots = self._slots_of(states)
        # The highest bits of the keys, times the number of slots.
        scaled = (keys >> (64 - BITS)) & (2**BITS - 1)
        scaled *= slots[:, 1]
        slot = slots[:, 0] + (scaled >> BITS)
        scaled &= 2**BITS - 1
        aliases = self._aliases.filled.take(slot, axis=0)
        slot = np.where(scaled < aliases[:, 0], slot, aliases[:, 1])
        return self._outcomes.filled.take(slot, axis=0).T

    def _walk_through(self, words: np.ndarray, keys: np.ndarray) -> tuple[list[int], list[int]]:
        """Draw long words; return where the ids of each begin, and how many they are."""
        first, count = [], []
        for word, key in zip(words.tolist(), keys.tolist(), strict=True):
            ids = walk_through(self._walk, self._long[-2 - word], key)
            first.append(len(self._ids.filled))
            count.append(len(ids))
            self._ids.extend(ids)
        return first, count

    def _number(self, state: Hashable) -> int:
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
            self._slots.extend([(-1, 0)])
        return number

    def _slots_of(self, states: np.ndarray) -> np.ndarray:
        """Return first slot and number of slots of states, after tabling those that are new."""
        slots = self._slots.filled.take(states, axis=0)
        new = states[slots[:, 0] < 0]
        if len(new):
            for number in np.unique(new).tolist():
                self._table(number, next_outcomes(self._walk, self._states[number]))
            slots = self._slots.filled.take(states, axis=0)
        return slots

    def _table(self, number: int, outcomes: Sequence[Outcome]) -> None:
        first, first_id = len(self._outcomes.filled), len(self._ids.filled)
        ids: list[int] = []
        aliases, rows = [], []
        slots = alias_table([outcome.probability for outcome in outcomes])
        for (share, other), outcome in zip(slots, outcomes, strict=True):
            state = -1 if outcome.state is None else self._number(outcome.state)
            aliases.append((share, first + other))
            rows.append((state, first_id + len(ids), len(outcome.ids)))
            ids += outcome.ids
        self._aliases.extend(aliases)
        self._outcomes.extend(rows)
        self._ids.extend(ids)
        self._slots.filled[number] = first, len(rows)
