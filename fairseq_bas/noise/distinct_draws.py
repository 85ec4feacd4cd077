"""Choose copies of sentences that differ, as far as there are enough ways to write one.

Most first draws differ, which sums of hashed ids tell for all sentences at once. Only where two may
be equal are copies compared, and drawn again.

Shapes: B sentences, R copies of each, A draws of each copy, N ids of all draws.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[np.ndarray, range], tuple[np.ndarray, np.ndarray]]
"""Takes the numbers of some sentences (B,) and of A draws of each of their copies; returns the ids
of the draws, joined (N,), and how many each has (B * R * A,), in the order of sentence, copy, draw,
all int64."""


def distinct_copies(
    draw: Draw,
    sentences: Sequence[Tensor],
    taken: Sequence[Sequence[Tensor]],
    codes: np.ndarray,
    max_tokens: float,
    attempts: int,
) -> list[list[Tensor]]:
    """Draw copies of sentences, for each its first draw that no earlier copy is.

    Args:
        draw: makes the draws.
        sentences: B of them, each (T,) int64.
        taken: for each sentence those that count as earlier copies.
        codes: (V,) int64, random bits for every id.
        max_tokens: greatest length of a copy; the sentence itself stands in for a longer one.
        attempts: draws for a copy that earlier ones are, of which then the first is taken: a power
            of 2; 1 takes the first draw, whatever it is.

    Returns:
        For each sentence its R copies.
    """
    owners = np.arange(len(sentences))
    ids, sizes = draw(owners, range(1))
    num_copies = len(sizes) // len(sentences)
    copies = _split(ids, sizes, num_copies)
    owners = np.repeat(owners, num_copies)
    doubtful = np.unique(owners[sizes > max_tokens])
    if attempts > 1 and (num_copies > 1 or any(taken)):
        rows = _with_taken(ids, sizes, owners, taken)
        doubtful = np.union1d(doubtful, owners_of_equal_rows(*rows, codes))
    tries = {b: [[copy] for copy in copies[b]] for b in doubtful.tolist()}
    made = 1
    while True:
        for b, draws in list(tries.items()):
            chosen = choose_distinct(draws, taken[b], sentences[b], max_tokens, attempts)
            if chosen is not None:
                copies[b] = chosen
                del tries[b]
        if not tries:
            return copies
        more = iter(_split(*draw(np.array([*tries], np.int64), range(made, 2 * made)), made))
        for draws in tries.values():
            for of_copy in draws:
                of_copy += next(more)
        made *= 2


def choose_distinct(
    tries: Sequence[Sequence[Tensor]],
    taken: Sequence[Tensor],
    stored: Tensor,
    max_tokens: float,
    attempts: int,
) -> list[Tensor] | None:
    """Choose for each copy of one sentence its first try that no earlier copy is.

    Args:
        tries: for each copy its tries so far, at least one.
        taken: sentences that count as earlier copies.
        stored: what stands in for a copy that is too long, (T,) int64.
        max_tokens: greatest length of a copy.
        attempts: tries that a copy may have, after which it is the first of them.

    Returns:
        The copies; None if more tries are needed.
    """
    seen = {_content(ids) for ids in taken}
    chosen = []
    for draws in tries:
        copy = draws[0]
        if attempts > 1 and _content(copy) in seen:
            unseen = next((draw for draw in draws if _content(draw) not in seen), None)
            if unseen is None and len(draws) < attempts:
                return None
            copy = copy if unseen is None else unseen
        if len(copy) > max_tokens:
            copy = stored
        seen.add(_content(copy))
        chosen.append(copy)
    return chosen


def owners_of_equal_rows(
    ids: np.ndarray, sizes: np.ndarray, owners: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Find whose rows may be equal, by sums that equal rows have in common.

    Args:
        ids: (N,) int64, all rows, joined.
        sizes: (rows,) int64, how many ids each has.
        owners: (rows,) int64, whose row it is.
        codes: (V,) int64, random bits for every id.

    Returns:
        int64, ascending: all owners that have two equal rows, and few others.

    >>> codes = np.array([5, -3, 9])
    >>> rows, sizes = np.array([0, 1, 2, 2, 0, 1]), np.array([2, 1, 1, 2])
    >>> owners_of_equal_rows(rows, sizes, np.array([0, 0, 0, 0]), codes).tolist()
    [0]
    >>> owners_of_equal_rows(rows, sizes, np.array([0, 0, 1, 1]), codes).tolist()
    []
    """
    sums = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(codes.take(ids), out=sums[1:])
    sums = np.diff(sums.take(np.cumsum(sizes)), prepend=0)
    order = np.lexsort((sums, owners))
    sums, owners = sums[order], owners[order]
    equal = (sums[1:] == sums[:-1]) & (owners[1:] == owners[:-1])
    return np.unique(owners[1:][equal])


def _with_taken(
    ids: np.ndarray, sizes: np.ndarray, owners: np.ndarray, taken: Sequence[Sequence[Tensor]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Append the sentences that count as earlier copies to rows of ids."""
    rows = [row.numpy() for each in taken for row in each]
    if not rows:
        return ids, sizes, owners
    whose = np.repeat(np.arange(len(taken)), [len(each) for each in taken])
    sizes = np.concatenate([sizes, [len(row) for row in rows]])
    return np.concatenate([ids, *rows]), sizes, np.concatenate([owners, whose])


def _split(ids: np.ndarray, sizes: np.ndarray, group: int) -> list[list[Tensor]]:
    """Return rows of ids as tensors, in groups of so many."""
    rows = torch.from_numpy(ids).split(sizes.tolist())
    return [list(rows[first : first + group]) for first in range(0, len(rows), group)]


def _content(ids: Tensor) -> bytes:
    return ids.numpy().tobytes()
