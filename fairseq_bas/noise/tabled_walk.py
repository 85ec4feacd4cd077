"""Walk on from states that few samples reach, one after another.

Such states are met one by one, a handful in a batch, so plain numbers are faster here than arrays.
"""

from collections.abc import Hashable, Sequence

from .alias_table import BITS, alias_table
from .counter_hash import child_key
from .random_walk import Choice, Walk

LIMIT = 1 << 17
"""Slots that are tabled, 50 MiB or so, before that starts anew; no part of what is drawn."""

_Slots = tuple[tuple[int, int], ...]


class TabledWalk:
    """Draw the rest of a walk, each step by a look into a table of its state.

    Args:
        walk: what can be written.

    >>> from functools import partial
    >>> class Coins:
    ...     def begin(self, text):
    ...         return text
    ...     def choices(self, state):
    ...         rest = None if len(state) == 1 else partial(state.__getitem__, slice(1, None))
    ...         return [Choice(0.5, [0], rest), Choice(0.5, [1], rest)]
    >>> TabledWalk(Coins()).draw("xxxx", 7)
    [0, 1, 1, 0]
    """

    def __init__(self, walk: Walk):
        self._walk = walk
        self._clear()

    def _clear(self) -> None:
        self._tables: dict[Hashable, tuple[_Slots, Sequence[Choice]]] = {}
        self._room = LIMIT

    def draw(self, state: Hashable, key: int) -> list[int]:
        """Return the ids of a walk from a state to the end.

        Args:
            state: where it begins.
            key: 64 bits, with or without a sign; every step is drawn from a child of the one
                before.
        """
        ids: list[int] = []
        while True:
            key = child_key(key, 0)
            slots, choices = self._tables.get(state) or self._table(state)
            # The highest bits of the key, times the number of slots.
            scaled = (key >> (64 - BITS)) * len(slots)
            slot = scaled >> BITS
            share, other = slots[slot]
            choice = choices[slot if scaled & (2**BITS - 1) < share else other]
            ids += choice.ids
            if choice.after is None:
                return ids
            state = choice.after()

    def _table(self, state: Hashable) -> tuple[_Slots, Sequence[Choice]]:
        choices = self._walk.choices(state)
        slots = alias_table(tuple(choice.probability for choice in choices))
        if self._room < len(slots):
            self._clear()
        self._room -= len(slots)
        table = self._tables[state] = slots, choices
        return table
