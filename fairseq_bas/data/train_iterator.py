"""The iterator over training micro-batches: keyed, never empty, and sure of its position.

It knows how much text all workers together read at every step of an epoch (``EpochRounds``), so
that a ``GrowingIterator`` can decide from update to update how many micro-batches make it up.

A run that goes on with another setup in the middle of an epoch reads what the epoch has left; see
``layout_change`` and ``epoch_parts``.
"""

import dataclasses
import functools
import logging
from collections.abc import Sequence
from typing import Any

from fairseq.data.iterators import CountingIterator, EpochBatchIterator, ShardedIterator

from ..errors import refuse_with
from .epoch_parts import Part, Rest, fairseq_order, rest_of_epoch
from .epoch_rounds import EpochRounds
from .growing_iterator import GrowingIterator
from .keyed_collater import KeyedCollater, StandIn
from .layout_change import FLAGS, changed, resumed_position
from .merged_passes import PassMerger, uncollated
from .pair_collater import quick_collater
from .sampled_pairs import SampledPairs
from .stored_lengths import data_digest, target_sizes
from .streams import StreamEpoch

logger = logging.getLogger(__name__)


class TrainIterator(EpochBatchIterator):
    """Yield keyed micro-batches, each sentence once an epoch whatever happens in its middle.

    Attributes:
        companions: what else belongs to the position, by name: objects with ``state_dict`` and
            ``load_state_dict``; where it belongs to streams, with ``regroup`` too.
        planner: decides how much text an update holds, see ``GrowingIterator``; without one,
            fairseq groups the micro-batches.
        merger: makes the passes of an update; without one its micro-batches are the passes.
    """

    companions: dict[str, Any]
    planner: Any = None
    merger: PassMerger | None = None
    _parts: Sequence[Part] = ()
    _rest: Rest | None = None

    @classmethod
    def of(cls, iterator: EpochBatchIterator, layout: dict[str, Any]) -> "TrainIterator":
        """Turn the iterator that fairseq built into one of this class.

        Args:
            iterator: the iterator over the training set, not yet started.
            layout: ``max_tokens``, ``batch_size``, ``multiple``, ``max_positions``,
                ``update_freq``, ``seed``, ``subword`` and ``batching`` where the run has them, see
                ``layout_change``; and ``replicas``, the replica schedule as text.

        Returns:
            An iterator over the same batches.
        """
        train = cls.__new__(cls)
        train.__dict__.update(iterator.__dict__)
        train.companions = {}
        collate = quick_collater(iterator.dataset, iterator.collate_fn)
        train.collate_fn = KeyedCollater(collate, StandIn(train))
        train.layout = {**dict.fromkeys(FLAGS, "none"), **layout, **_facts(iterator)}
        return train

    # -- position -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return fairseq's position with the layout that gives it a meaning."""
        state = {**super().state_dict(), "bas_layout": self.layout}
        in_rest = self._rest is not None and state["epoch"] == self._rest.epoch
        state["bas_parts"] = [dataclasses.asdict(part) for part in self._parts] if in_rest else []
        batches = self._rest.batches if in_rest and self._rest else self.frozen_batches
        state["bas_length"] = -(-len(batches) // self.num_shards)
        state["bas_companions"] = {
            name: companion.state_dict() for name, companion in self.companions.items()
        }
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position.

        Raises:
            UserError: in the middle of an epoch, if sentences would be repeated or lost.
        """
        epoch, done = state_dict["epoch"], state_dict.get("iterations_in_epoch", 0)
        if hasattr(self.dataset, "set_epoch"):  # before loader workers begin to read
            self.dataset.set_epoch(epoch)
        self._parts, self._rest = [], None
        if "bas_layout" in state_dict:
            with refuse_with():
                self._parts, done = resumed_position(state_dict, self.layout)
                if self._parts:
                    self._rest = self._rest_of(state_dict)
            self._report(state_dict)
        super().load_state_dict({**state_dict, "iterations_in_epoch": done})
        if self._rest is not None and done == 0:
            shuffle = state_dict.get("shuffle", True)
            self._next_epoch_itr = self._get_iterator_for_epoch(epoch, shuffle)
        self._load_companions(state_dict, done)

    def _rest_of(self, state: dict[str, Any]) -> Rest:
        """Return what the epoch has left.

        Raises:
            ValueError: one sentence, if that is no update.
        """
        shuffle = state.get("shuffle", True)
        rest = rest_of_epoch(self.dataset, state["epoch"], self._parts, self.layout, shuffle)
        rounds = -(-len(rest.batches) // self.num_shards)
        needed = 1 + max(self.layout["update_freq"]) if self.skip_remainder_batch else 1
        if rounds < needed:
            raise ValueError(
                f"nothing that epoch {state['epoch']} has left makes up an update with "
                f"--max-tokens {self.layout['max_tokens']}; pass a larger one, or "
                "--reset-dataloader to start the data again at epoch 1"
            )
        return rest

    def _load_companions(self, state: dict[str, Any], done: int) -> None:
        stored = state.get("bas_companions", {})
        for name in self.companions.keys() & stored.keys():
            self.companions[name].load_state_dict(stored[name])
            if hasattr(self.companions[name], "regroup"):
                rows = self.layout["rows"] if done > 0 else None
                self.companions[name].regroup(rows or 0)

    def _report(self, state: dict[str, Any]) -> None:
        """Log what changed."""
        stored = {**dict.fromkeys(FLAGS, "none"), **state["bas_layout"]}
        where = f"from epoch {state['epoch']} on"
        if state["iterations_in_epoch"] > 0:
            where = f"in the rest of epoch {state['epoch']} and from there on"
        for key in changed(stored, self.layout):
            logger.info(
                f"{FLAGS[key]} {self.layout[key]} {where} (it was {stored[key]} in the checkpoint)"
            )
        if self._rest is not None:
            left = sum(map(len, self._rest.batches))
            logger.info(
                f"{left} sentences of epoch {state['epoch']} were not read before the setup changed"
            )
        if stored["replicas"] != self.layout["replicas"]:
            logger.info(
                f"--bas-replicas {self.layout['replicas']} from here on "
                f"(it was {stored['replicas']} in the checkpoint)"
            )

    # -- micro-batches ------------------------------------------------------------------------

    def ordered_batches(
        self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool
    ) -> list[Sequence[int]]:
        """Return this reader's micro-batches of an epoch, or of what is left of it."""
        if self._rest is None or epoch != self._rest.epoch:
            return super().ordered_batches(epoch, fix_batches_to_gpus, shuffle)
        shard = ShardedIterator(self._rest.batches, self.num_shards, self.shard_id, fill_value=[])
        batches = list(shard)
        if self._supports_prefetch:
            self.dataset.prefetch([i for batch in batches for i in batch])
        return batches

    def _get_iterator_for_epoch(
        self, epoch: int, shuffle: bool, fix_batches_to_gpus: bool = False, offset: int = 0
    ) -> CountingIterator | None:
        if self._rest is not None and epoch != self._rest.epoch:
            self._parts, self._rest = [], None
        if self.dataloader is not None:  # fairseq would keep to the first epoch's choice
            self.epoch_batch_sampler.shuffle = shuffle
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
        before = 0.0
        if self._rest is not None and epoch == self._rest.epoch:
            batches, before = self._rest.batches, self._rest.before
        else:
            shuffle = shuffle and not self.disable_shuffling
            batches = fairseq_order(self.frozen_batches, epoch, self.layout, shuffle)
        size_of = functools.partial(target_sizes, self.dataset)
        return EpochRounds.of(batches, self.num_shards, size_of, before)


def _facts(iterator: EpochBatchIterator) -> dict[str, Any]:
    """Return the part of a layout that an iterator knows itself."""
    dataset = iterator.dataset
    reads_streams = isinstance(dataset, StreamEpoch)
    return {
        "readers": iterator.num_shards,
        "sentences": len(dataset),
        "grouped": iterator.grouped_shuffling,
        "order_seed": iterator.seed + iterator.epoch,
        "shuffle_seed": iterator.seed,
        "growth": list(dataset.growth) if isinstance(dataset, SampledPairs) else None,
        "digest": data_digest(dataset),
        "streams": dataset.layout.num_streams if reads_streams else None,
        "rows": len(iterator.frozen_batches[0]) if reads_streams else None,
    }
