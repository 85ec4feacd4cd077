"""Draw how words are written, many at once, from tables that are made as words are met.

A word has few likely segmentations. They are worked out once; after that one look into an alias
table (Walker 1977) draws one of them. What is less likely ends in a state from which it is walked
on. Text without spaces, where a whole sentence is one word, is walked through from its beginning.

Shapes: E words, N ids of all their samples.
"""

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from .alias_table import BITS, alias_table
from .joined_rows import GrowingArray, ranges
from .random_walk import Outcome, Walk, likeliest, walk_through
from .tabled_walk import TabledWalk

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
    ...         return [Choice(0.5, (1, 2)), Choice(0.5, (3,))]
    >>> draws = WordDraws(Coin())
    >>> words = [draws.add("a"), draws.add("b"), draws.add_fixed([7])]
    >>> ids, counts = draws.draw(np.array(words), np.array([2**62, -(2**62), 7]))
    >>> ids.tolist(), counts.tolist()
    ([1, 2, 3, 7], [2, 1, 1])
    """

    def __init__(self, walk: Walk):
        self._walk, self._rare = walk, TabledWalk(walk)
        self._clear()

    def _clear(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._slots = GrowingArray(2)  # by word: its first slot; how many
        # By slot: the share of its own outcome, in units of 2**-BITS; whose outcome has the rest.
        self._aliases = GrowingArray(2)
        # By slot: where its own outcome breaks off, -1 if it does not; first of its ids; how many.
        self._outcomes = GrowingArray(3)
        self._ids = GrowingArray()
        self._broken_off: list[tuple[Sequence[int], Any]] = []  # its ids, and the state after them
        self._long: set[int] = set()  # which of these are the beginnings of long words

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
        word = ("word", state)
        if word in self._numbers:
            return self._numbers[word]
        if len(text) <= LONGEST:
            return self._table(word, likeliest(self._walk, state))
        self._long.add(len(self._broken_off))
        return self._table(word, [Outcome(1.0, (), state)])

    def add_fixed(self, ids: Sequence[int]) -> int:
        """Return the number of what is always written as these ids."""
        word = ("fixed", *ids)
        if word in self._numbers:
            return self._numbers[word]
        return self._table(word, [Outcome(1.0, ids)])

    def _table(self, word: Hashable, outcomes: Sequence[Outcome]) -> int:
        first, first_id = len(self._outcomes.filled), len(self._ids.filled)
        ids: list[int] = []
        aliases, rows = [], []
        slots = alias_table([outcome.probability for outcome in outcomes])
        for (share, other), outcome in zip(slots, outcomes, strict=True):
            end = -1
            if outcome.state is not None:
                end = len(self._broken_off)
                self._broken_off.append((outcome.ids, outcome.state))
            aliases.append((share, first + other))
            rows.append((end, first_id + len(ids), len(outcome.ids)))
            ids += outcome.ids
        self._aliases.extend(aliases)
        self._outcomes.extend(rows)
        self._ids.extend(ids)
        number = self._numbers[word] = len(self._slots.filled)
        self._slots.extend([(first, len(rows))])
        return number

    def draw(self, words: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw a sample of each word.

        Args:
            words: (E,) int64, numbers of words.
            keys: (E,) int64, what each sample is drawn from: random bits, used as they are.

        Returns:
            (N,) int64, the ids of all samples, joined; (E,) int64, how many each has.
        """
        ends, first, count = self._outcomes_of(words, keys)
        [open_words] = np.nonzero(ends >= 0)
        num_tabled = len(self._ids.filled)
        if len(open_words):
            samples = self._finish(ends[open_words], keys[open_words])
            sizes = np.fromiter(map(len, samples), np.int64, len(samples))
            first[open_words] = num_tabled + np.cumsum(sizes) - sizes
            count[open_words] = sizes
            self._ids.extend([*chain.from_iterable(samples)])
        ids = self._ids.filled.take(ranges(first, count))
        self._ids.cut(num_tabled)
        return ids, count

    def _outcomes_of(self, words: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Return of an outcome of each word: where it breaks off, where its ids begin, how many.

        Returns:
            (3, E) int64.
        """
        slots = self._slots.filled.take(words, axis=0)
        # The highest bits of the keys, times the number of slots.
        scaled = (keys >> (64 - BITS)) & (2**BITS - 1)
        scaled *= slots[:, 1]
        slot = slots[:, 0] + (scaled >> BITS)
        scaled &= 2**BITS - 1
        aliases = self._aliases.filled.take(slot, axis=0)
        slot = np.where(scaled < aliases[:, 0], slot, aliases[:, 1])
        return self._outcomes.filled.take(slot, axis=0).T

    def _finish(self, ends: np.ndarray, keys: np.ndarray) -> list[list[int]]:
        """Return the ids of words whose outcomes broke off."""
        samples = []
        for end, key in zip(ends.tolist(), keys.tolist(), strict=True):
            ids, state = self._broken_off[end]
            if end in self._long:
                samples.append(walk_through(self._walk, state, key))
            else:
                samples.append([*ids, *self._rare.draw(state, key)])
        return samples
