"""Group micro-batches into updates whose size is decided from one update to the next."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fairseq.data.iterators import CountingIterator

from .epoch_rounds import EpochRounds
from .extended_update import ExtendedUpdate


class Planner(Protocol):
    """Name what decides the size of an update.

    Attributes:
        extends_updates: updates may take more than they were planned with, see `is_enough`.
    """

    extends_updates: bool

    def next_stop(self, rounds: EpochRounds, start: int, chunk_size: int) -> int:
        """Return where the update that begins at round ``start`` ends; must have no effect."""
        ...

    def begin_update(self, rounds: EpochRounds, start: int, stop: int) -> None:
        """Take note that the update of these rounds is next."""
        ...

    def is_enough(self, rounds: EpochRounds, start: int, stop: int, chunk_size: int) -> bool:
        """Tell, once the gradient of these rounds is known, whether they make up the update."""
        ...

    def extend_update(self, rounds: EpochRounds, stop: int) -> None:
        """Take note that the update takes round ``stop`` too."""
        ...


class GrowingIterator(CountingIterator):
    """Yield lists of micro-batches, the updates of an epoch.

    In place of fairseq's ``GroupedIterator``, whose groups all have one size. Nothing is loaded
    twice or dropped when the size changes: the micro-batches stay as they are, and the position in
    the epoch counts them. The length is an estimate, for the progress bar.

    Args:
        planner: decides where each update ends.
        rounds: what all workers read in each step of the epoch.
        merge: makes the passes of an update from its micro-batches; None to take these as passes.
        micro_batches: this worker's, from the current position on.
        chunk_size: ``--update-freq`` of the epoch: rounds in an update of plain fairseq.
        skip_remainder_batch: leave out a last update that is smaller than planned.
    """

    def __init__(
        self,
        planner: Planner,
        rounds: EpochRounds,
        merge: Callable[[Sequence[Any]], list[Any]] | None,
        micro_batches: CountingIterator,
        chunk_size: int,
        skip_remainder_batch: bool = False,
    ):
        self.planner, self.rounds, self.merge = planner, rounds, merge
        self.micro_batches = micro_batches
        self.chunk_size = chunk_size
        self.skip_remainder_batch = skip_remainder_batch
        # Updates that the epoch has had in other rounds, as if they had been of this size.
        share = rounds.before / (1.0 - rounds.before)
        earlier = round(share * len(rounds) / chunk_size)
        self.n = earlier + -(-micro_batches.n // chunk_size)

    def __len__(self) -> int:
        left = self.micro_batches.total - self.micro_batches.n
        if left == 0:
            return self.n
        start = self.micro_batches.n
        return self.n + -(-left // (self._stop(start) - start))

    def has_next(self) -> bool:
        """Tell whether the epoch holds another update."""
        if not self.micro_batches.has_next():
            return False
        start = self.micro_batches.n
        if not self.skip_remainder_batch or not self._is_remainder(start):
            return True
        # Or the epoch would not count as finished.
        self.micro_batches.take(start)
        return False

    def __next__(self) -> list[Any] | ExtendedUpdate:
        if not self.has_next():
            raise StopIteration
        start = self.micro_batches.n
        stop = self._stop(start)
        self.planner.begin_update(self.rounds, start, stop)
        self.n += 1
        batches = [next(self.micro_batches) for _ in range(start, stop)]
        if self.planner.extends_updates:
            return ExtendedUpdate(batches, functools.partial(self._one_more, start))
        return batches if self.merge is None else self.merge(batches)

    def _one_more(self, start: int) -> Any | None:
        stop = self.micro_batches.n
        if not self.micro_batches.has_next() or self.planner.is_enough(
            self.rounds, start, stop, self.chunk_size
        ):
            return None
        self.planner.extend_update(self.rounds, stop)
        return next(self.micro_batches)

    def _stop(self, start: int) -> int:
        stop = self.planner.next_stop(self.rounds, start, self.chunk_size)
        return min(stop, self.micro_batches.total)

    def _is_remainder(self, start: int) -> bool:
        return start + self.chunk_size > self.micro_batches.total


def grouped_by(group: type[CountingIterator]) -> Callable[..., CountingIterator]:
    """Return a stand-in for ``group``, which it calls for all iterators that are not of ours."""

    @functools.wraps(group, updated=())
    def grouped(
        iterable: Any, chunk_size: int, skip_remainder_batch: bool = False
    ) -> CountingIterator:
        make = getattr(iterable, "grouped", group)
        return make(iterable, chunk_size, skip_remainder_batch=skip_remainder_batch)

    return grouped
