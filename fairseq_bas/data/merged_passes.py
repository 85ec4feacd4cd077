"""Larger passes for larger updates: the sentences of an update, dealt into as few passes as fit.

Growth by more micro-batches of the same size leaves a device as badly used as it was at the start.
Here the data loader leaves sentences uncollated; once an update is known, its sentences are sorted
by length and dealt into passes up to the bound that the device holds. The gradient is the same sum.
"""

from collections.abc import Callable, Sequence
from typing import Any

Item = dict[str, Any]
Batch = dict[str, Any]


class Uncollated(list[Item]):
    """Hold the examples of a micro-batch as the data set gives them."""


def uncollated(items: Sequence[Item]) -> Uncollated:
    """Take the place of a collater in the data loader."""
    return Uncollated(items)


def deal(sizes: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Deal sentences into passes: longest first, each pass as full as it may be.

    Args:
        sizes: (n,) tokens of each sentence, >= 1.
        max_tokens: tokens of a pass, padding included, >= 1; a longer sentence has one to itself.

    Returns:
        Indices of the sentences of each pass; sentences of equal length keep their order.

    >>> deal([3, 9, 4, 4], max_tokens=12)
    [[1], [2, 3, 0]]
    """
    passes: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        if passes and (len(passes[-1]) + 1) * longest <= max_tokens:
            passes[-1].append(index)
        else:
            passes.append([index])
            longest = sizes[index]
    return passes


class PassMerger:
    """Collate the sentences of an update into passes.

    Args:
        collate: makes a mini-batch of sentences, also of none.
        size_of: tokens of the sentence with the given id, as ``--max-tokens`` counts them.
        max_tokens: tokens of a pass, padding included, without copies.
    """

    def __init__(
        self,
        collate: Callable[[Sequence[Item]], Batch],
        size_of: Callable[[int], int],
        max_tokens: int,
    ):
        self.collate, self.size_of, self.max_tokens = collate, size_of, max_tokens

    def __call__(self, micro_batches: Sequence[Uncollated]) -> list[Batch]:
        """Return the passes of an update with these micro-batches, at least one."""
        items = [item for micro_batch in micro_batches for item in micro_batch]
        if not items:
            return [self.collate([])]
        sizes = [self.size_of(int(item["id"])) for item in items]
        return [self.collate([items[i] for i in chosen]) for chosen in deal(sizes, self.max_tokens)]
