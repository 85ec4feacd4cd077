"""Sentence pairs whose copies each have their own subword segmentation, drawn by loader workers.

Shapes: B sentences of a micro-batch, M replicas made of each, R = B * M rows.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset, FairseqDataset, LanguagePairDataset
from torch import Tensor

from ..noise.subword import SubwordSampler, copy_keys, expected_growth

Batch = dict[str, Any]
SIDES = ("source", "target")


class SampledPairs(BaseWrapperDataset):
    """Make M copies of every pair of a ``LanguagePairDataset``, each with sampled segmentations.

    A copy is a function of seed, epoch, sentence id, replica number and side. Copies of a sentence
    differ as far as its segmentations go; to that end each copy is drawn after all copies with
    lower numbers, also where another worker makes those.

    Lengths are charged with what sampling adds on average, up to what the run allows; a sample that
    is longer than that gives way to the stored segmentation.

    Args:
        dataset: the pairs, segmented by the models of the samplers.
        source_sampler: what samples the source; None keeps its stored segmentation.
        target_sampler: the same for the target.
        replicas: the replica numbers to make.
        seed: the run's ``--seed``.
        clean_replica: replica 0 keeps the stored segmentation.

    Raises:
        ValueError: if the pairs have word alignments or length buckets, which know the stored
            segmentation only.
    """

    def __init__(
        self,
        dataset: LanguagePairDataset,
        source_sampler: SubwordSampler | None,
        target_sampler: SubwordSampler | None,
        replicas: range,
        seed: int,
        clean_replica: bool,
    ):
        super().__init__(dataset)
        self.samplers = (source_sampler, target_sampler)
        self.replicas, self.seed, self.clean_replica = replicas, seed, clean_replica
        self._require_plain_pairs()
        # Loader workers may outlive an epoch; they learn of the next one through shared memory.
        self._epoch = torch.ones(1, dtype=torch.int64).share_memory_()
        self.growth = tuple(
            max(1.0, expected_growth(sampler, stored, seed)) if sampler and stored else 1.0
            for sampler, stored in zip(self.samplers, (dataset.src, dataset.tgt), strict=True)
        )
        self._allow(math.inf, math.inf)

    def __getattr__(self, name: str) -> Any:
        """Look up what is not here, such as dictionaries and padding sides, in the pairs."""
        if name == "dataset":  # not there yet while this is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    @classmethod
    def grown(cls, dataset: LanguagePairDataset, growth: Sequence[float]) -> "SampledPairs":
        """Return pairs that have the lengths of some sampling, and are never to be sampled.

        Args:
            dataset: the pairs.
            growth: the attribute ``growth`` of the pairs that were sampled.
        """
        pairs = cls(dataset, None, None, range(1), seed=0, clean_replica=False)
        pairs.growth = tuple(growth)
        pairs._allow(math.inf, math.inf)
        return pairs

    def _require_plain_pairs(self) -> None:
        flags = {"align_dataset": "--load-alignments", "buckets": "--num-batch-buckets"}
        for attribute, flag in flags.items():
            if getattr(self.dataset, attribute) is not None:
                given = [sampler.flag for sampler in self.samplers if sampler]
                raise ValueError(
                    f"{' and '.join(given)} with {flag}, which holds for the stored segmentation "
                    "only; leave one of them out"
                )

    # -- copies -------------------------------------------------------------------------------

    def set_epoch(self, epoch: int) -> None:
        """Draw the segmentations of this epoch from now on, in every loader worker too."""
        super().set_epoch(epoch)
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the stored pair and ``copies``, a list of ``source`` and ``target`` for each."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return pairs with their copies; a data loader asks for a whole micro-batch at once.

        One call of a sampler for all sentences of a side takes a small part of the time of a call
        for each.
        """
        items = [self.dataset[index] for index in indices]
        sides = (self._copies(items, side) for side in range(2))
        both = (zip(*copies, strict=True) for copies in zip(*sides, strict=True))
        return [
            {**item, "copies": [dict(zip(SIDES, pair, strict=True)) for pair in pairs]}
            for item, pairs in zip(items, both, strict=True)
        ]

    def _copies(self, items: Sequence[dict[str, Any]], side: int) -> list[list[Tensor | None]]:
        """Return one side of each pair, for each replica that is made."""
        sampler, made = self.samplers[side], self.replicas
        stored = [item[SIDES[side]] for item in items]
        if sampler is None or any(ids is None for ids in stored):
            return [[ids] * len(made) for ids in stored]
        sentences, first = [item["id"] for item in items], int(self.clean_replica)
        replicas = range(first, made.stop)
        keys = copy_keys(self.seed, int(self._epoch), side, sentences, replicas)
        clean = [[ids] * first for ids in stored]
        sampled = sampler.sample_batch(stored, keys, True, clean, self._allowed[side])
        both = zip(clean, sampled, strict=True)
        return [(kept + drawn)[made.start : made.stop] for kept, drawn in both]

    def collater(self, items: Sequence[dict[str, Any]]) -> Batch:
        """Collate all copies of the pairs into one mini-batch, sorted by source length.

        Args:
            items: B pairs; those without ``copies`` are collated as they are stored.

        Returns:
            The mini-batch of R rows, with ``id`` (R,), the sentence ids, and

            - ``replica`` (R,) int64, the replica number of each row;
            - ``row`` (R,) int64, its number before sorting, copies of a sentence adjacent;
            - ``made_replicas``, the M replica numbers; a list after the batch was pinned;
            - ``copy_sizes``, by replica: greatest source and target length, target tokens;
            - ``left_pad``, whether source and target are padded on the left.
        """
        if not items or "copies" not in items[0]:
            return self.dataset.collater(items)
        made = self.replicas
        copies = [{**item, **copy} for item in items for copy in item["copies"]]
        batch = self.dataset.collater([{**copy, "id": row} for row, copy in enumerate(copies)])
        row = batch["id"]
        batch["row"] = row
        batch["id"] = torch.tensor([copy["id"] for copy in copies])[row]
        batch["replica"] = made.start + row % len(made)
        batch["made_replicas"] = made
        batch["copy_sizes"] = {
            replica: self._sizes_of(copies[position :: len(made)])
            for position, replica in enumerate(made)
        }
        batch["left_pad"] = (self.dataset.left_pad_source, self.dataset.left_pad_target)
        return batch

    def _sizes_of(self, copies: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
        """Return padded source and target length and number of tokens of one replica's rows."""
        multiple = self.dataset.pad_to_multiple
        sources, targets = (
            [0 if copy[side] is None else len(copy[side]) for copy in copies] for side in SIDES
        )
        longest = [math.ceil(max(lengths) / multiple) * multiple for lengths in (sources, targets)]
        return longest[0], longest[1], sum(targets) or sum(sources)

    # -- lengths ------------------------------------------------------------------------------

    def _allow(self, source: float, target: float) -> None:
        """Set the greatest lengths of this run and charge every sentence with its growth."""
        self._allowed = (source, target)
        self.src_sizes = self._charge(self.dataset.src_sizes, 0)
        self.tgt_sizes = None
        if self.dataset.tgt_sizes is not None:
            self.tgt_sizes = self._charge(self.dataset.tgt_sizes, 1)

    def _charge(self, stored: np.ndarray, side: int) -> np.ndarray:
        expected = np.ceil(stored * self.growth[side] - 1e-9)
        return np.maximum(stored, np.minimum(expected, self._allowed[side])).astype(stored.dtype)

    @property
    def sizes(self) -> np.ndarray:
        """Return the charged lengths: (sentences, 2), or (sentences,) without a target."""
        if self.tgt_sizes is None:
            return self.src_sizes
        return np.stack((self.src_sizes, self.tgt_sizes), axis=1)

    def size(self, index: int) -> tuple[int, int]:
        """Return the charged lengths of source and target."""
        return self.src_sizes[index], 0 if self.tgt_sizes is None else self.tgt_sizes[index]

    def num_tokens(self, index: int) -> int:
        """Return what a copy of a pair counts against ``--max-tokens``."""
        return max(self.size(index))

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """Return ``num_tokens`` of many pairs."""
        return self.sizes[indices].reshape(len(indices), -1).max(axis=1)

    # ``ordered_indices`` are those of the stored lengths: charging keeps their order.

    def filter_indices_by_size(
        self, indices: np.ndarray, max_sizes: float | Sequence[float] | None
    ) -> tuple[np.ndarray, list[int]]:
        """Leave out pairs that are too long as they are stored; hold samples to the same lengths.

        Returns:
            The ids that are left, and those that are not.
        """
        if isinstance(max_sizes, int | float):
            self._allow(max_sizes, max_sizes)
        elif max_sizes is not None:
            self._allow(*max_sizes)
        return super().filter_indices_by_size(indices, max_sizes)

    def batch_by_size(
        self, indices: np.ndarray, max_tokens: int | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Make batches of charged lengths; no sample is longer than a whole batch."""
        if max_tokens is not None:
            self._allow(*(min(allowed, max_tokens) for allowed in self._allowed))
        return FairseqDataset.batch_by_size(self, indices, max_tokens, *args, **kwargs)
