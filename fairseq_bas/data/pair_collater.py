"""Collate sentence pairs as fairseq does, in a few calls of torch and not in several a sentence.

Shapes: B sentences of lengths L_b, longest L, N tokens in all.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from fairseq.data import LanguagePairDataset
from torch import Tensor

Item = dict[str, Any]
Batch = dict[str, Any]
PLAIN_KEYS = {"id", "source", "target"}


def quick_collater(
    dataset: Any, collate: Callable[[Sequence[Item]], Batch]
) -> Callable[[Sequence[Item]], Batch]:
    """Return what collates like ``collate``, faster where ``dataset`` is one of plain pairs.

    Args:
        dataset: of training.
        collate: its collater.
    """
    is_plain = type(dataset) is LanguagePairDataset and (
        dataset.src_lang_id is None and dataset.tgt_lang_id is None
    )
    return PairCollater(dataset, collate) if is_plain and dataset.input_feeding else collate


class PairCollater:
    """Make the mini-batch that ``LanguagePairDataset.collater`` makes, bit by bit.

    Items with more than tokens (alignments, constraints), without target, or with padding or
    nothing in their tokens go to that collater.

    Args:
        dataset: fairseq's, of pairs, with ``input_feeding``.
        collate: its collater.
    """

    def __init__(
        self, dataset: LanguagePairDataset, collate: Callable[[Sequence[Item]], Batch]
    ) -> None:
        self.collate = collate
        self.pad, self.eos = dataset.src_dict.pad(), dataset.eos
        self.left_pad_source, self.left_pad_target = (
            dataset.left_pad_source,
            dataset.left_pad_target,
        )
        self.multiple = dataset.pad_to_multiple

    def __call__(self, items: Sequence[Item]) -> Batch:
        """Collate ``items``, longest source first."""
        if not items or any(not _is_plain(item) for item in items):
            return self.collate(items)
        lengths = torch.tensor([len(item["source"]) for item in items])
        lengths, order = lengths.sort(descending=True)
        ordered = [items[place] for place in order.tolist()]
        target_lengths = torch.tensor([len(item["target"]) for item in ordered])
        source = torch.cat([item["source"] for item in ordered])
        target = torch.cat([item["target"] for item in ordered])
        if source.eq(self.pad).any() or target.eq(self.pad).any():
            return self.collate(items)
        rows = self._rows(target_lengths, self.left_pad_target)
        return {
            "id": torch.tensor([int(item["id"]) for item in ordered]),
            "nsentences": len(items),
            "ntokens": len(target),
            "net_input": {
                "src_tokens": self._padded(source, self._rows(lengths, self.left_pad_source)),
                "src_lengths": lengths,
                "prev_output_tokens": self._padded(shifted(target, target_lengths, self.eos), rows),
            },
            "target": self._padded(target, rows),
        }

    def _rows(self, lengths: Tensor, left: bool) -> Tensor:
        """Return where tokens stand in the padded rows, (B, L) bool."""
        size = int(lengths.max())
        size = -(-size // self.multiple) * self.multiple
        places = torch.arange(size)
        if left:
            return places >= size - lengths[:, None]
        return places < lengths[:, None]

    def _padded(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """Return tokens (N,) in rows (B, L), padded."""
        return tokens.new_full(rows.shape, self.pad).masked_scatter_(rows, tokens)


def shifted(tokens: Tensor, lengths: Tensor, eos: int | None) -> Tensor:
    """Return what a decoder reads: each sentence one place on, with the end of sentence in front.

    Args:
        tokens: (N,) of B sentences one after the other.
        lengths: (B,) of these, each at least 1.
        eos: the end of sentence; None takes each sentence's own last token.

    >>> shifted(torch.tensor([5, 6, 2, 7, 2]), torch.tensor([3, 2]), eos=2).tolist()
    [2, 5, 6, 2, 7]
    """
    ends = lengths.cumsum(0) - 1
    moved = tokens.roll(1)
    moved[ends - lengths + 1] = tokens[ends] if eos is None else eos
    return moved


def _is_plain(item: Item) -> bool:
    return (
        item.keys() == PLAIN_KEYS
        and item["target"] is not None
        and len(item["source"]) > 0
        and len(item["target"]) > 0
    )
