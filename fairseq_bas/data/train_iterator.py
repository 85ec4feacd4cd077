"""The iterator over training micro-batches: keyed, never empty, and sure of its position.

It knows how much text all workers together read at every step of an epoch (``EpochRounds``), so
that a ``GrowingIterator`` can decide from update to update how many micro-batches make it up.

fairseq stores the position in an epoch as a number of micro-batches. That number means other
sentences once ``--max-tokens`` or the number of workers has changed, and fairseq goes on silently
with some sentences repeated and others lost. Here the layout that the position refers to is stored
beside it and compared on resume.
"""

import copy
import functools
import logging
from typing import Any

import numpy as np
from fairseq.data.iterators import CountingIterator, EpochBatchIterator

from ..errors import refuse_with
from .epoch_rounds import EpochRounds
from .growing_iterator import GrowingIterator
from .keyed_collater import KeyedCollater
from .merged_passes import PassMerger, uncollated

logger = logging.getLogger(__name__)

# What decides which sentences the n-th micro-batch of a worker holds, and how users set it.
LAYOUT_FLAGS = {
    "max_tokens": "--max-tokens",
    "batch_size": "--batch-size",
    "multiple": "--required-batch-size-multiple",
    "update_freq": "--update-freq",
    "seed": "--seed",
    "subword": "subword noise",
    "batching": "the text read as",
    "readers": "a number of workers with different micro-batches of",
    "sentences": "a number of training sentences of",
}


class TrainIterator(EpochBatchIterator):
    """Yield keyed micro-batches and refuse to resume at a position that means something else.

    Attributes:
        companions: what else belongs to the position, by name: objects with ``state_dict`` and
            ``load_state_dict``.
        planner: decides how much text an update holds, see ``GrowingIterator``; without one,
            fairseq groups the micro-batches.
        merger: makes the passes of an update; without one its micro-batches are the passes.
    """

    companions: dict[str, Any]
    planner: Any = None
    merger: PassMerger | None = None

    @classmethod
    def of(cls, iterator: EpochBatchIterator, layout: dict[str, Any]) -> "TrainIterator":
        """Turn the iterator that fairseq built into one of this class.

        Args:
            iterator: the iterator over the training set, not yet started.
            layout: values for keys of ``LAYOUT_FLAGS`` but ``readers`` and ``sentences``, where the
                run has any, and ``replicas``, the replica schedule as text.

        Returns:
            An iterator over the same batches.
        """
        train = cls.__new__(cls)
        train.__dict__.update(iterator.__dict__)
        train.companions = {}
        train.collate_fn = KeyedCollater(iterator.collate_fn, train._stand_in)
        train.layout = {
            **dict.fromkeys(LAYOUT_FLAGS, "none"),
            **layout,
            "readers": iterator.num_shards,
            "sentences": len(iterator.dataset),
        }
        return train

    def _stand_in(self) -> Any:
        return self.dataset[self.frozen_batches[0][0]]

    def state_dict(self) -> dict[str, Any]:
        """Return fairseq's position with the layout that gives it a meaning."""
        state = {**super().state_dict(), "bas_layout": self.layout, "bas_length": len(self)}
        state["bas_companions"] = {
            name: companion.state_dict() for name, companion in self.companions.items()
        }
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position.

        Raises:
            UserError: in the middle of an epoch, if the layout differs from the stored one.
        """
        if "bas_layout" in state_dict:
            with refuse_with():
                self._check(state_dict["bas_layout"], state_dict)
        super().load_state_dict(state_dict)
        stored = state_dict.get("bas_companions", {})
        for name in self.companions.keys() & stored.keys():
            self.companions[name].load_state_dict(stored[name])

    def _get_iterator_for_epoch(
        self, epoch: int, shuffle: bool, fix_batches_to_gpus: bool = False, offset: int = 0
    ) -> CountingIterator | None:
        iterator = super()._get_iterator_for_epoch(epoch, shuffle, fix_batches_to_gpus, offset)
        if iterator is not None and self.planner is not None:
            rounds = self.rounds(epoch, shuffle, fix_batches_to_gpus)
            iterator.grouped = functools.partial(GrowingIterator, self.planner, rounds, self.merger)
        return iterator

    def merge_passes(self, max_tokens: int) -> None:
        """Let the sentences of an update be dealt into passes of up to ``max_tokens`` tokens."""
        self.merger = PassMerger(self.collate_fn, self.dataset.num_tokens, max_tokens)
        self.collate_fn = uncollated

    @property
    def first_batch(self) -> Any:
        """Return the first micro-batch, collated."""
        if self.merger is None:
            return super().first_batch
        return self.merger([uncollated([self.dataset[i] for i in self.frozen_batches[0]])])[0]

    def rounds(
        self, epoch: int, shuffle: bool = True, fix_batches_to_gpus: bool = False
    ) -> EpochRounds:
        """Return what all workers together read in each step of an epoch."""
        if fix_batches_to_gpus and self._supports_prefetch and self.num_shards > 1:
            with refuse_with():
                raise ValueError(
                    "--fix-batches-to-gpus with data loaded by --dataset-impl cached hides from "
                    "each worker what the others read; leave one of the two out"
                )
        reader = copy.copy(self)
        reader._supports_prefetch = False
        if self.grouped_shuffling:  # the order depends on the number of readers
            shards = []
            for reader.shard_id in range(self.num_shards):
                shards.append(reader.ordered_batches(epoch, fix_batches_to_gpus, shuffle))
            batches = [batch for round_ in zip(*shards, strict=True) for batch in round_]
        else:
            reader.num_shards, reader.shard_id = 1, 0
            batches = reader.ordered_batches(epoch, fix_batches_to_gpus, shuffle)
        return EpochRounds.of(
            batches, self.num_shards, functools.partial(target_sizes, self.dataset)
        )

    def _check(self, stored: dict[str, Any], state: dict[str, Any]) -> None:
        stored = {**dict.fromkeys(LAYOUT_FLAGS, "none"), **stored}
        changed = [key for key in LAYOUT_FLAGS if stored[key] != self.layout[key]]
        done = state["iterations_in_epoch"]
        if changed and done > 0:
            was = " and ".join(f"{LAYOUT_FLAGS[key]} {stored[key]}" for key in changed)
            now = " and ".join(f"{LAYOUT_FLAGS[key]} {self.layout[key]}" for key in changed)
            raise ValueError(
                f"the checkpoint stopped after {done} of {state['bas_length']} micro-batches of "
                f"epoch {state['epoch']} with {was}, and with {now} that position would repeat "
                f"some sentences and lose others; go on with {was}, or pass --reset-dataloader to "
                "start the data again at epoch 1"
            )
        for key in changed:
            logger.info(
                f"{LAYOUT_FLAGS[key]} {self.layout[key]} from epoch {state['epoch']} on "
                f"(it was {stored[key]} in the checkpoint)"
            )
        if stored["replicas"] != self.layout["replicas"]:
            logger.info(
                f"--bas-replicas {self.layout['replicas']} from here on "
                f"(it was {stored['replicas']} in the checkpoint)"
            )


def target_sizes(dataset: Any, indices: np.ndarray) -> np.ndarray:
    """Return the target lengths (n,) of the sentences ``indices`` (n,) as they are stored."""
    sizes = getattr(dataset, "tgt_sizes", None)
    return (dataset.sizes if sizes is None else sizes)[indices]
