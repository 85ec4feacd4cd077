"""Which sentences of an epoch were read, and the rest of it in micro-batches of another setup.

An epoch in whose middle the setup changed (workers, ``--max-tokens``, ...) consists of parts. The
first is the epoch as fairseq orders it; each later part holds, batched anew and in a shuffled order
of its own, every sentence that the parts before it did not read. All of it follows from the
setups and lengths of the parts, so a checkpoint holds a few numbers and no sentence.

Shapes: N sentences of the training set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fairseq.data import FairseqDataset, data_utils
from fairseq.data.iterators import EpochBatchIterator
from torch.utils.data import Dataset

from ..rng import derive_seed
from .sampled_pairs import SampledPairs

Batches = Sequence[Sequence[int]]
Setup = dict[str, Any]
SETUP_KEYS = (
    "max_tokens",
    "batch_size",
    "multiple",
    "max_positions",
    "growth",
    "readers",
    "grouped",
    "order_seed",
    "shuffle_seed",
)
"""What decides which sentences the n-th micro-batch of a worker holds.

``max_tokens``, ``batch_size``, ``multiple`` and ``max_positions`` bound micro-batches, ``growth``
is what sampled segmentations add to the lengths (None without), ``readers`` are the workers with
different micro-batches, ``grouped`` is ``--grouped-shuffling``, and the seeds are those of the
order before batching and of the micro-batches.
"""


@dataclass(frozen=True)
class Part:
    """Say what was read of an epoch under one setup.

    Args:
        setup: values for `SETUP_KEYS`.
        shuffle: whether the micro-batches were shuffled.
        rounds: micro-batches of each reader that were read.
    """

    setup: Setup
    shuffle: bool
    rounds: int


@dataclass(frozen=True)
class Rest:
    """Hold what an epoch has left.

    Args:
        epoch: >= 1.
        batches: micro-batches in reading order; reader w reads the w-th of every ``readers``.
        before: share of the epoch that came before, in [0, 1).
    """

    epoch: int
    batches: Batches
    before: float


def rest_of_epoch(
    dataset: FairseqDataset, epoch: int, parts: Sequence[Part], setup: Setup, shuffle: bool
) -> Rest:
    """Return every sentence that no part has read, batched under ``setup``.

    Args:
        dataset: the training set.
        epoch: >= 1.
        parts: in the order in which they were read; at least one.
        setup: of the rest, as in `Part`.
        shuffle: whether to shuffle the micro-batches of the rest.
    """
    read = np.zeros(len(dataset), dtype=bool)
    before = 0.0
    for number, part in enumerate(parts):
        batches = _part_batches(dataset, epoch, number, part.setup, part.shuffle, read)
        readers = part.setup["readers"]
        for batch in batches[: part.rounds * readers]:
            read[batch] = True
        before += (1.0 - before) * part.rounds / -(-len(batches) // readers)
    batches = _part_batches(dataset, epoch, len(parts), setup, shuffle, read)
    return Rest(epoch, batches, before)


def _part_batches(
    dataset: FairseqDataset,
    epoch: int,
    number: int,
    setup: Setup,
    shuffle: bool,
    read: np.ndarray,
) -> Batches:
    if number == 0:
        return fairseq_order(unread_batches(dataset, setup), epoch, setup, shuffle)
    batches = unread_batches(dataset, setup, read)
    if not shuffle:
        return batches
    readers = setup["readers"] if setup["grouped"] else 1
    return shuffled(batches, derive_seed(setup["shuffle_seed"], "rest", epoch, number), readers)


def unread_batches(
    dataset: FairseqDataset, setup: Setup, read: np.ndarray | None = None
) -> Batches:
    """Return micro-batches as fairseq makes them, in order of length.

    Args:
        dataset: the training set; not changed.
        setup: as in `Part`.
        read: (N,) bool, sentences to leave out; with it, no other sentence that the bounds
            allow is left out, while fairseq drops a last micro-batch whose size is not a
            multiple of ``--required-batch-size-multiple``.
    """
    view = _with_growth(dataset, setup["growth"])
    with data_utils.numpy_seed(setup["order_seed"]):
        indices = view.ordered_indices()
    if setup["max_positions"] is not None:
        indices, _ = view.filter_indices_by_size(indices, setup["max_positions"])
    if read is not None:
        indices = indices[~read[indices]]
        if len(indices) == 0:
            return []
    batches = view.batch_by_size(
        indices,
        max_tokens=setup["max_tokens"],
        max_sentences=setup["batch_size"],
        required_batch_size_multiple=setup["multiple"],
    )
    if read is not None:
        batched = sum(map(len, batches))
        if batched < len(indices):
            batches = [*batches, indices[batched:]]
    return batches


def fairseq_order(batches: Batches, epoch: int, setup: Setup, shuffle: bool) -> Batches:
    """Return the micro-batches of all readers in fairseq's reading order.

    Args:
        batches: in order of length.
        epoch: >= 1.
        setup: as in `Part`.
        shuffle: whether fairseq shuffles them.
    """
    # With grouped shuffling the order depends on the number of readers.
    readers = setup["readers"] if setup["grouped"] else 1
    shards = []
    for reader in range(readers):
        iterator = EpochBatchIterator(
            Dataset(),
            None,
            batches,
            seed=setup["shuffle_seed"],
            num_shards=readers,
            shard_id=reader,
            grouped_shuffling=setup["grouped"],
        )
        shards.append(iterator.ordered_batches(epoch, False, shuffle))
    return [batch for round_ in zip(*shards, strict=True) for batch in round_]


def shuffled(batches: Batches, key: int, readers: int = 1) -> Batches:
    """Return micro-batches in random order.

    Args:
        batches: micro-batches.
        key: a seed.
        readers: so many neighbours stay together; those that are left over come last.

    >>> sorted(shuffled([[0], [1], [2]], key=1))
    [[0], [1], [2]]
    """
    whole = len(batches) // readers
    order = np.random.Generator(np.random.PCG64(key)).permutation(whole)
    moved = [batches[i * readers + r] for i in order for r in range(readers)]
    return [*moved, *batches[whole * readers :]]


def _with_growth(dataset: FairseqDataset, growth: Sequence[float] | None) -> FairseqDataset:
    """Return the data set as it was batched with this growth; only for its sizes."""
    stored = dataset.dataset if isinstance(dataset, SampledPairs) else dataset
    return stored if growth is None else SampledPairs.grown(stored, growth)
