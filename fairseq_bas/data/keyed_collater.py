"""Collate a training micro-batch so that it carries its own noise key and is never empty."""

from collections.abc import Callable, Sequence
from typing import Any

from fairseq.data.iterators import EpochBatchIterator

Batch = dict[str, Any]


class KeyedCollater:
    """Add ``first_sentence`` and ``is_empty`` to what a dataset's collater makes.

    ``first_sentence`` (int) is the smallest sentence id of the micro-batch, found where the batch
    is made, so that keying the dropout of a pass costs the device no synchronisation.

    When the number of micro-batches does not divide by the number of workers, fairseq gives some
    workers an empty one at the end of an epoch, and its trainer then drops the *whole* update of
    such a worker from the normaliser, real micro-batches included. Here an empty micro-batch is
    a one-sentence stand-in marked ``is_empty``, for the task to weigh with zero.

    Args:
        collate: the dataset's collater.
        stand_in: makes the item that fills an empty micro-batch.
    """

    def __init__(self, collate: Callable[[Sequence[Any]], Batch], stand_in: Callable[[], Any]):
        self.collate = collate
        self.stand_in = stand_in

    def __call__(self, items: Sequence[Any]) -> Batch:
        """Collate ``items``, the examples of one micro-batch (possibly none)."""
        is_empty = len(items) == 0
        batch = self.collate([self.stand_in()] if is_empty else items)
        batch["first_sentence"] = int(batch["id"].min())
        batch["is_empty"] = is_empty
        return batch


class StandIn:
    """Return a sentence for workers that have none left: the first of the first micro-batch.

    Loader processes that are not forked get it without the iterator, which knows the trainer.

    Args:
        iterator: over the training batches.
    """

    def __init__(self, iterator: EpochBatchIterator):
        self._dataset, self._iterator, self._index = iterator.dataset, iterator, None

    def __call__(self) -> Any:
        """Return the example."""
        return self._dataset[self._first()]

    def __getstate__(self) -> dict[str, Any]:
        return {"_dataset": self._dataset, "_iterator": None, "_index": self._first()}

    def _first(self) -> Any:
        if self._iterator is not None:
            self._index = self._iterator.frozen_batches[0][0]
        return self._index
