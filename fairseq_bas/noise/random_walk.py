"""Random walks that write a text, and what they lead to.

A segmentation is drawn step by step: a piece after another (unigram), or a merge after another
(BPE). What can come next depends on the state alone.
"""

import heapq
from collections.abc import Hashable, Sequence
from itertools import count
from typing import Any, NamedTuple, Protocol

from .counter_hash import child_key

OPEN = 2.0**-8
"""Outcomes of a word are worked out until the rest has at most this probability in all,"""
OUTCOMES = 96
"""or until there are so many."""


class Choice(NamedTuple):
    """What can come next: its probability, the ids it adds, and the step it is, None if the last.

    Steps and ids are plain values, tuples of them at most: many are kept, and so cost the garbage
    collector nothing.
    """

    probability: float
    ids: tuple[int, ...]
    step: Any = None


class Walk(Protocol):
    """A random walk that writes the ids of a text."""

    def begin(self, text: str) -> Hashable:
        """Return the first state; None if the text cannot be written."""

    def choices(self, state: Any) -> list[Choice]:
        """Return what can come next, with probabilities that add up to 1."""

    def after(self, state: Any, step: Any) -> Hashable:
        """Return the state after a step that is not the last."""


class Outcome(NamedTuple):
    """What some steps lead to: its probability, the ids they add, and the state, None if last."""

    probability: float
    ids: Sequence[int]
    state: Any = None


def likeliest(walk: Walk, state: Hashable) -> list[Outcome]:
    """Follow the likeliest steps until little is open; see ``OPEN`` and ``OUTCOMES``.

    Ways to the same state with the same ids count as one.
    """
    ends: dict[tuple[int, ...], float] = {}
    open_ends: dict[tuple[tuple[int, ...], Any], float] = {((), state): 1.0}
    queue: list[tuple[float, int, tuple[tuple[int, ...], Any]]] = [(-1.0, 0, ((), state))]
    order, rest = count(1), 1.0  # the order decides between equals
    while queue and rest > OPEN and len(ends) + len(open_ends) < OUTCOMES:
        negative, _, way = heapq.heappop(queue)
        if open_ends.get(way) != -negative:
            continue  # another way to it was found since
        reached, (ids, state) = open_ends.pop(way), way
        for probability, more, step in walk.choices(state):
            part, written = reached * probability, (*ids, *more)
            if step is None:
                ends[written] = ends.get(written, 0.0) + part
                rest -= part
            else:
                way = written, walk.after(state, step)
                open_ends[way] = open_ends.get(way, 0.0) + part
                heapq.heappush(queue, (-open_ends[way], next(order), way))
    outcomes = [Outcome(probability, ids) for ids, probability in ends.items()]
    return outcomes + [Outcome(part, ids, state) for (ids, state), part in open_ends.items()]


def walk_through(walk: Walk, state: Hashable, key: int) -> list[int]:
    """Return the ids of one walk to its end, nothing remembered.

    Args:
        walk: what can be written.
        state: where it begins.
        key: 64 bits, with or without a sign, what the walk is drawn from.
    """
    ids: list[int] = []
    number = 0
    while True:
        bits = child_key(key, number)
        choice = choose(walk.choices(state), (bits & (2**53 - 1)) * 2.0**-53)
        ids += choice.ids
        if choice.step is None:
            return ids
        state = walk.after(state, choice.step)
        number += 1


def choose(choices: Sequence[Choice], value: float) -> Choice:
    """Return the choice that a number in [0, 1) stands for.

    >>> coin = [Choice(0.5, (1,)), Choice(0.5, (2,))]
    >>> choose(coin, 0.2).ids, choose(coin, 0.5).ids
    ((1,), (2,))
    """
    for choice in choices:
        value -= choice.probability
        if value < 0:
            return choice
    return max(choices, key=lambda choice: choice.probability)  # sums are rounded
