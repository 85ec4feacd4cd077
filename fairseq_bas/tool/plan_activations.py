"""Count what the forward pass keeps for the backward pass, by running it on the CPU.

Shapes: B sentences of a pass, R copies of each.
"""

import dataclasses
import math
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from fairseq import utils

from ..config import Clock
from ..data.train_iterator import TrainIterator
from ..nn.lstm_layer import LSTMLayer
from ..replicate import select_rows
from .plan_setup import PlannedSetup, keeps_half_weights

FEW = 4
"""Sentences that are run all; of more, three are."""


def collate(iterator: TrainIterator) -> Callable[[list[int]], Any]:
    """Return what makes a pass of the sentences with the given indices."""
    merger = iterator.merger
    make = iterator.collate_fn if merger is None else merger.collate
    return lambda indices: make([iterator.dataset[i] for i in indices])


def largest_batches(
    setup: PlannedSetup, iterator: TrainIterator, micro_batches: int = 1
) -> list[tuple[list[int], int]]:
    """Return the micro-batches that may keep most: of most tokens, and of the longest sentences.

    Args:
        setup: what the run is made of.
        iterator: over the training set.
        micro_batches: of each worker in the largest update, which may be put together in passes.

    Returns:
        Indices of each, and the rows of a pass with them, B.
    """
    sizes = np.asarray(iterator.dataset.sizes)
    batches = [list(map(int, batch)) for batch in iterator.frozen_batches]
    lengths = [sizes[batch].reshape(len(batch), -1).max(axis=0) for batch in batches]
    rows = [len(batch) for batch in batches]
    bound = getattr(setup.task.cfg, "bas_max_tokens_per_pass", None)
    if bound is not None:
        fit = [max(1, int(bound // each.max())) for each in lengths]
        rows = [min(n * micro_batches, most) for n, most in zip(rows, fit, strict=True)]
    padded = [n * int(each.sum()) for n, each in zip(rows, lengths, strict=True)]
    squared = [
        n * int((each.astype(np.int64) ** 2).sum()) for n, each in zip(rows, lengths, strict=True)
    ]
    chosen = {int(np.argmax(padded)), int(np.argmax(squared))}
    return [(batches[i], rows[i]) for i in sorted(chosen)]


class Activations:
    """Count what passes over a micro-batch keep for the backward pass.

    Args:
        setup: what the run is made of; its model is in the precision of training.
        collate: makes a mini-batch of the sentences with the given indices.
        clock: decides M, and so R.
    """

    def __init__(self, setup: PlannedSetup, collate: Callable[[list[int]], Any], clock: Clock):
        self.setup, self.collate, self.clock = setup, collate, clock

    def of(self, indices: list[int], rows: int) -> int:
        """Return the bytes of a pass of ``rows`` sentences like those given, extended from three.

        Args:
            indices: of the sentences of a micro-batch.
            rows: B.
        """
        if len(indices) <= FEW:
            return self.count(indices) * rows // len(indices)
        extremes, usual = self._chosen(indices)
        two = self.count(indices, extremes)
        three = self.count(indices, sorted([*extremes, usual]))
        return two + (three - two) * (rows - 2)

    def _chosen(self, indices: list[int]) -> tuple[list[int], int]:
        """Return the positions of the longest and shortest sentence, and of a usual one.

        They stay in order, by length. The usual one is that of a length near the mean of the rest.

        Where a mini-batch has padding, two of them have it too: models may do without what is for
        padding if there is none.
        """
        sample = self.collate(indices)
        copies = len(sample.get("made_replicas", (0,)))
        lengths = sample["net_input"]["src_lengths"][::copies].double()
        by_length = lengths.argsort(stable=True).tolist()
        inner = torch.tensor(by_length[1:-1])
        usual = inner[(lengths[inner] - lengths[inner].mean()).abs().argmin()]
        return sorted([by_length[0], by_length[-1]]), int(usual)

    def count(self, indices: list[int], chosen: list[int] | None = None) -> int:
        """Return the bytes of the largest pass of an update, by running its forward pass.

        Args:
            indices: of the sentences of a micro-batch.
            chosen: positions in the mini-batch of the sentences that are run, at the width that all
                of them have; None for all.
        """
        setup = self.setup
        sample = self.collate(indices)
        if chosen is not None:
            sample = some_sentences(
                sample, chosen, lambda: self.collate([indices[i] for i in chosen])
            )
        if "window" in sample:
            sample["window"] = 0  # there is no state to go on from
        if keeps_half_weights(setup.cfg):
            sample = utils.apply_to_sample(_as_half, sample)
        modules = (setup.model, setup.criterion)
        known = [t for module in modules for t in (*module.parameters(), *module.buffers())]
        kept = _Kept(known)
        self._set_clock()
        with (
            warnings.catch_warnings(action="ignore"),  # of fairseq's calls; training shows them
            torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack),
            torch.autocast("cpu", torch.bfloat16, enabled=bool(setup.cfg.common.amp)),
            torch.random.fork_rng(devices=[]),
            # Its LSTM keeps whole pages, which no other device does; without it all else is slow.
            torch.backends.mkldnn.flags(enabled=not _has_lstm(setup.model)),
        ):
            setup.task.train_step(sample, setup.model, setup.criterion, kept, self.clock.updates)
        return kept.largest

    def _set_clock(self) -> None:
        large_batch = getattr(self.setup.task, "large_batch", None)
        if large_batch is not None:
            planner = large_batch.planner
            planner.plan = dataclasses.replace(planner.plan, clock=self.clock)


class _Held:
    """Hold a tensor as long as the graph does."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor


class _Kept:
    """Add up what autograd keeps; as the optimizer, be told where a forward pass ends.

    Args:
        known: tensors that are there anyway.
    """

    def __init__(self, known: list[torch.Tensor]):
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._held: list[weakref.ref[_Held]] = []
        self.largest = 0

    def pack(self, tensor: torch.Tensor) -> _Held:
        """Take note of a tensor that is kept, perhaps in a branch of the graph that is given up."""
        held = _Held(tensor)
        self._held.append(weakref.ref(held))
        return held

    @staticmethod
    def unpack(held: _Held) -> torch.Tensor:
        """Give the tensor back."""
        return held.tensor

    def backward(self, loss: torch.Tensor) -> None:
        """End a pass; in place of the backward pass, which would need memory for gradients."""
        alive = [held.tensor for held in (ref() for ref in self._held) if held is not None]
        storages = {s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in alive)}
        kept = sum(size for at, size in storages.items() if at not in self._known)
        self.largest = max(self.largest, kept)
        self._held = []


def some_sentences(sample: Any, chosen: Sequence[int], otherwise: Callable[[], Any]) -> Any:
    """Return some sentences of a mini-batch, as wide as all of it.

    Args:
        sample: a collated mini-batch; where its copies are made already, they are adjacent.
        chosen: positions of the sentences.
        otherwise: makes a mini-batch of these sentences alone, for what has more than rows.
    """
    if "alignments" in sample:
        return otherwise()
    copies = len(sample.get("made_replicas", (0,)))
    rows = torch.tensor([i * copies + copy for i in chosen for copy in range(copies)])
    share = len(rows) / sample["id"].size(0)
    counts = {"nsentences": len(rows), "ntokens": math.ceil(sample["ntokens"] * share)}
    return {**select_rows(sample, rows), **counts}


def _has_lstm(model: torch.nn.Module) -> bool:
    return any(isinstance(module, torch.nn.LSTM | LSTMLayer) for module in model.modules())


def _as_half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
