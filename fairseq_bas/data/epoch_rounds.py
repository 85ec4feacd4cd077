"""How much text every step through an epoch holds, known before any of it is loaded.

A round is what all workers load at the same time: one micro-batch each. Every worker knows the
order of all micro-batches, so it knows the size of every round, and all of them can fill an update
to a stated size, alike and without asking each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EpochRounds:
    """Hold how much an epoch has given after each of its R rounds.

    Args:
        sentences: (R + 1,) distinct sentences of all workers in the first r rounds.
        target_tokens: (R + 1,) their target tokens, at the lengths of the stored text.
        before: share of the epoch that was read in other rounds before these, in [0, 1).

    Example:
        >>> rounds = EpochRounds.of([[0, 1], [2], [3], []], readers=2, size_of=lambda i: 10 + i)
        >>> rounds.sentences.tolist(), rounds.target_tokens.tolist()
        ([0, 3, 4], [0, 33, 46])
    """

    sentences: np.ndarray
    target_tokens: np.ndarray
    before: float = 0.0

    @classmethod
    def of(
        cls,
        batches: Sequence[Sequence[int]],
        readers: int,
        size_of: Callable[[np.ndarray], np.ndarray],
        before: float = 0.0,
    ) -> "EpochRounds":
        """Add up an epoch.

        Args:
            batches: the micro-batches of all workers in order, as indices of sentences; worker w
                reads the w-th of every ``readers``.
            readers: workers that read different micro-batches.
            size_of: gives the target lengths (n,) of the sentences with the given indices (n,).
            before: share of the epoch that came before these micro-batches.
        """
        lengths = np.array([len(batch) for batch in batches], dtype=np.int64)
        tokens = np.array(
            [size_of(np.asarray(batch)).sum() if len(batch) else 0 for batch in batches],
            dtype=np.int64,
        )
        return cls(_running_total(lengths, readers), _running_total(tokens, readers), before)

    def __len__(self) -> int:
        return len(self.sentences) - 1

    def share(self, start: int) -> float:
        """Return the share of the epoch that was read when round ``start`` is next, in [0, 1].

        Example:
            >>> EpochRounds(np.arange(5), np.arange(5), before=0.5).share(2)
            0.75
        """
        return self.before + (1.0 - self.before) * start / len(self)

    def amount(self, start: int, stop: int) -> tuple[int, int]:
        """Return the sentences and target tokens of rounds ``start`` to ``stop`` (exclusive)."""
        return (
            int(self.sentences[stop] - self.sentences[start]),
            int(self.target_tokens[stop] - self.target_tokens[start]),
        )

    def fill(self, start: int, amount: float, unit: str) -> int:
        """Return where an update that begins at round ``start`` ends.

        It holds at least one round, and else the number of rounds whose size is nearest to
        ``amount``, the smaller one of two equally near.

        Args:
            start: round, 0 <= start < R.
            amount: size wanted, > 0, in rounds (``x``), sentences (``s``) or target tokens (``t``).
            unit: one of ``x``, ``s``, ``t``.

        Returns:
            A round in start + 1 ... R; R if the epoch does not hold that much any more.

        Example:
            >>> rounds = EpochRounds(np.array([0, 3, 5, 9]), np.array([0, 40, 60, 99]))
            >>> [rounds.fill(0, amount, "s") for amount in (1, 4, 5, 8, 90)]
            [1, 1, 2, 3, 3]
        """
        if unit == "x":
            return min(start + max(1, int(np.ceil(amount - 0.5))), len(self))
        totals = self.sentences if unit == "s" else self.target_tokens
        wanted = totals[start] + amount
        above = int(np.searchsorted(totals, wanted))  # the first total that is large enough
        if above > len(self):
            return len(self)
        below_is_nearer = wanted - totals[above - 1] <= totals[above] - wanted
        return max(start + 1, above - int(below_is_nearer))


def _running_total(sizes: np.ndarray, readers: int) -> np.ndarray:
    rounds = -(-len(sizes) // readers)
    padded = np.zeros(rounds * readers, dtype=np.int64)
    padded[: len(sizes)] = sizes
    return np.concatenate([[0], padded.reshape(rounds, readers).sum(axis=1).cumsum()])
