"""Walk on from states that few samples reach, one after another.

Such states are met one by one, a handful in a batch, so plain numbers are faster here than arrays.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

from .alias_table import BITS, alias_table
from .counter_hash import child_key
from .random_walk import Walk

LIMIT = 1 << 18
"""Slots that are tabled, 40 MiB or so, before that starts anew; no part of what is drawn."""

_Slots = tuple[tuple[int, int], ...]
_Table = tuple[_Slots, tuple[tuple[tuple[int, ...], Any], ...]]  # choices by their ids and step


class TabledWalk:
    """Draw the rest of a walk, each step by a look into a table of its state.

    Args:
        walk: what can be written.

    >>> from fairseq_bas.noise.random_walk import Choice
    >>> class Coins:
    ...     def begin(self, text):
    ...         return text
    ...     def choices(self, state):
    ...         step = None if len(state) == 1 else 1
    ...         return [Choice(0.5, (0,), step), Choice(0.5, (1,), step)]
    ...     def after(self, state, step):
    ...         return state[step:]
    >>> TabledWalk(Coins()).draw("xxxx", 7)
    [0, 1, 1, 0]
    """

    def __init__(self, walk: Walk):
        self._walk = walk
        self._clear()

    def _clear(self) -> None:
        self._tables: dict[Hashable, _Table] = {}
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
            more, step = choices[slot if scaled & (2**BITS - 1) < share else other]
            ids += more
            if step is None:
                return ids
            state = self._walk.after(state, step)

    def _table(self, state: Hashable) -> _Table:
        choices = self._walk.choices(state)
        slots = _slots_of(tuple(choice.probability for choice in choices))
        if self._room < len(slots):
            self._clear()
        self._room -= len(slots)
        # Plain tuples of plain values, which the garbage collector soon passes over.
        table = self._tables[state] = slots, tuple([(choice[1], choice[2]) for choice in choices])
        return table


@lru_cache(maxsize=256)  # merges with dropout are as likely wherever there are as many
def _slots_of(probabilities: tuple[float, ...]) -> _Slots:
    return tuple(alias_table(probabilities))
