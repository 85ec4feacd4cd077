"""A text as fairseq data: contiguous streams, read window after window.

Shapes: B streams of a micro-batch, M copies made of each, T tokens of a window, S streams in all.
"""

import functools
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset

from .digest import digest_of
from .stream_windows import StreamLayout

Batch = dict[str, Any]


class StreamText(FairseqDataset):
    """Hold the tokens of a text; ``StreamEpoch`` cuts it up.

    Args:
        sentences: the sentences of the text as int tensors, each with its end-of-sentence symbol.
        end_of_sentence: id of that symbol, from which the first token is predicted.
    """

    def __init__(self, sentences: Sequence[torch.Tensor], end_of_sentence: int):
        # By index: fairseq's data sets need not stop a loop over them.
        parts = [np.asarray(sentences[index]) for index in range(len(sentences))]
        tokens = np.concatenate(parts) if parts else np.zeros(0)
        self.tokens = tokens.astype(np.int32)
        self.end_of_sentence = end_of_sentence

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.as_tensor(self.tokens[index])

    @property
    def sizes(self) -> np.ndarray:
        """Return the length of every item: one token."""
        return np.ones(len(self.tokens), dtype=np.int64)

    @functools.cached_property
    def digest(self) -> str:
        """Return a digest of the tokens."""
        return digest_of(self.tokens)

    def read(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and labels at ``positions`` (T,), both (T,) int64."""
        labels = self.tokens[positions]
        inputs = np.where(positions > 0, self.tokens[positions - 1], self.end_of_sentence)
        return torch.from_numpy(inputs.astype(np.int64)), torch.from_numpy(labels.astype(np.int64))


class StreamEpoch(FairseqDataset):
    """Cut a text into the windows of one epoch.

    Item ``n * S + s`` is window n of stream s.

    Args:
        text: the text.
        layout: how it is cut.
        seed: the run's ``--seed``.
        epoch: >= 1.
        replicas: the replicas made of each stream where copies read at other places; else none.
    """

    unit = "streams"

    def __init__(
        self,
        text: StreamText,
        layout: StreamLayout,
        seed: int = 1,
        epoch: int = 1,
        replicas: range | None = None,
    ):
        self.text, self.layout, self.replicas = text, layout, replicas
        lengths = layout.windows(seed, epoch)
        self.windows = list(pairwise(accumulate(lengths, initial=0)))
        self.rotations = layout.rotations(seed, epoch)
        self._sizes = np.repeat(np.asarray(lengths, dtype=np.int64), layout.num_streams)

    def batches(self, groups: int) -> list[list[int]]:
        """Return micro-batches in reading order: each window, each of ``groups`` parts of streams.

        Args:
            groups: a divisor of S.

        Returns:
            Lists of S / groups items; micro-batch ``n * groups + g`` holds window n of the
            streams ``g * S / groups`` and on.
        """
        rows = self.layout.num_streams // groups
        return [list(range(first, first + rows)) for first in range(0, len(self), rows)]

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> Batch:
        window, stream = divmod(index, self.layout.num_streams)
        start, stop = self.windows[window]
        copies = [
            self.text.read(
                self.layout.positions(stream, replica, start, stop, self.rotations[stream])
            )
            for replica in self.replicas or (0,)
        ]
        return {"id": stream, "window": window, "copies": copies}

    @property
    def sizes(self) -> np.ndarray:
        """Return the length of every item."""
        return self._sizes

    def num_tokens(self, index: int) -> int:
        """Return the length of an item."""
        return int(self._sizes[index])

    def size(self, index: int) -> int:
        """Return the length of an item."""
        return int(self._sizes[index])

    def collater(self, items: Sequence[Batch]) -> Batch:
        """Make a mini-batch as fairseq's of a language model, without any padding.

        Returns:
            ``id`` (B,), the numbers of the streams, ``nsentences``, ``ntokens``,
            ``net_input`` with ``src_tokens`` (B, T) and ``src_lengths`` (B,), ``target`` (B, T),
            and ``window``, the number of the window. Where copies read at other places, there are
            B * M rows, copies adjacent, with what ``data.select_replicas`` needs.
        """
        if not items:
            return {}
        inputs, labels = zip(*(copy for item in items for copy in item["copies"]), strict=True)
        streams = torch.tensor([item["id"] for item in items])
        rows, length = len(inputs), len(inputs[0])
        batch = {
            "id": streams.repeat_interleave(rows // len(items)),
            "nsentences": rows,
            "ntokens": rows * length,
            "net_input": {
                "src_tokens": torch.stack(inputs),
                "src_lengths": torch.full((rows,), length),
            },
            "target": torch.stack(labels),
            "window": items[0]["window"],
        }
        if self.replicas is not None:
            size = (length, length, len(items) * length)
            batch["row"] = torch.arange(rows)
            batch["replica"] = self.replicas.start + batch["row"] % len(self.replicas)
            batch["made_replicas"] = self.replicas
            batch["copy_sizes"] = dict.fromkeys(self.replicas, size)
            batch["left_pad"] = (False, False)
        return batch
