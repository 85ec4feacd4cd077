"""A fixed piece of text as micro-batches: chosen by a seed, the same for every checkpoint.

Shapes: B sentences of a micro-batch, T tokens.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fairseq import utils
from fairseq.data import FairseqDataset

from .streams import StreamText

Batch = dict[str, Any]


@dataclass(frozen=True)
class SurfaceText:
    """Hold the text that a loss is measured on.

    Attributes:
        batches: micro-batches as fairseq's, on the CPU.
        sentences: how many sentences or windows they hold.
        tokens: N, their target tokens.
        digest: SHA-256 of the sentences, whatever the micro-batches.
    """

    batches: list[Batch]
    sentences: int
    tokens: int
    digest: str


def text_of_pairs(dataset: FairseqDataset, chosen: Sequence[int], max_tokens: int) -> SurfaceText:
    """Put sentence pairs into micro-batches, by length.

    Args:
        dataset: a ``LanguagePairDataset`` with targets.
        chosen: the sentences to take, each once.
        max_tokens: bound on B times the longest side of a micro-batch, if B > 1.
    """
    items = {int(index): dataset[int(index)] for index in chosen}
    digest = _digest(part for item in items.values() for part in (item["source"], item["target"]))
    order = sorted(items, key=lambda index: (dataset.num_tokens(index), index))
    parts = split_by_tokens([dataset.num_tokens(index) for index in order], max_tokens)
    batches = [dataset.collater([items[order[place]] for place in part]) for part in parts]
    tokens = sum(len(item["target"]) for item in items.values())
    return SurfaceText(batches, len(items), tokens, digest)


def windows(text: StreamText, length: int, count: int, seed: int, max_tokens: int) -> SurfaceText:
    """Choose windows of a text, each to be read from a zero state.

    Args:
        text: the text.
        length: T, tokens of a window; what is left at the end of a longer text is left out.
        count: windows to choose, without replacement; all if there are fewer.
        seed: of the choice.
        max_tokens: bound on B * T, if B > 1.
    """
    length = min(length, len(text))
    chosen = choose(len(text) // length, count, seed)
    pairs = [text.read(np.arange(start, start + length)) for start in chosen * length]
    rows = max(1, max_tokens // length)
    batches = []
    for first in range(0, len(pairs), rows):
        inputs, labels = zip(*pairs[first : first + rows], strict=True)
        lengths = torch.full((len(inputs),), length)
        net_input = {"src_tokens": torch.stack(inputs), "src_lengths": lengths}
        batches.append({"net_input": net_input, "target": torch.stack(labels)})
    digest = _digest(part for pair in pairs for part in pair)
    return SurfaceText(batches, len(pairs), len(pairs) * length, digest)


def choose(total: int, count: int, seed: int) -> np.ndarray:
    """Choose ``count`` of ``total`` things at random, all if there are fewer; sorted.

    >>> choose(3, 5, seed=1).tolist(), len(choose(100, 7, seed=1))
    ([0, 1, 2], 7)
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    return np.sort(generator.permutation(total)[:count])


def split_by_tokens(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Cut sentences in order of length into micro-batches.

    Args:
        lengths: of the sentences, not decreasing.
        max_tokens: bound on sentences times longest; a longer sentence is alone.

    Returns:
        Places in ``lengths``, in order.

    >>> split_by_tokens([1, 2, 3, 9], 6)
    [[0, 1], [2], [3]]
    """
    parts: list[list[int]] = []
    for place, length in enumerate(lengths):
        if parts and (len(parts[-1]) + 1) * length <= max_tokens:
            parts[-1].append(place)
        else:
            parts.append([place])
    return parts


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a micro-batch with its tensors on a device."""
    moved: Batch = utils.move_to_cuda(batch, device) if device.type == "cuda" else batch
    return moved


def _digest(parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        tokens = np.asarray(part, dtype="<i4")
        digest.update(len(tokens).to_bytes(4, "little") + tokens.tobytes())
    return digest.hexdigest()
