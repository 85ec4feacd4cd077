"""Micro-batches to measure gradients on: random sentences, and as fairseq makes them by length.

Shapes: K micro-batches, B sentences of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fairseq import utils
from fairseq.data import data_utils
from numpy.typing import NDArray

from ..data.stored_lengths import target_sizes

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class MicroBatch:
    """Hold sentences whose gradient is measured as one.

    Attributes:
        parts: sentence ids of each forward pass; a sentence may be there more than once.
    """

    parts: Sequence[Ids]

    @property
    def sentences(self) -> int:
        """Return B."""
        return sum(len(part) for part in self.parts)


class SentencePool:
    """Draw micro-batches from a data set, independently of each other and with replacement.

    So what varies between them is what varies between batches of the text, whatever its size.

    Args:
        task: of fairseq.
        dataset: its data.
        model: decides which sentences are short enough.
        max_tokens: bound on a forward pass, longest sentence times sentences.
        max_sentences: bound on its sentences, None for none.
        seed: of all draws.

    Attributes:
        unit: what an item is, ``sentences`` or ``windows``.

    Raises:
        ValueError: if no sentence can be used.
    """

    def __init__(
        self,
        task: Any,
        dataset: Any,
        model: Any,
        max_tokens: int,
        max_sentences: int | None,
        seed: int,
    ):
        self.dataset, self.max_tokens, self.max_sentences = dataset, max_tokens, max_sentences
        self.unit = "sentences" if hasattr(dataset, "src_sizes") else "windows"
        limits = utils.resolve_max_positions(
            task.max_positions(), model.max_positions(), max_tokens
        )
        with data_utils.numpy_seed(seed):
            ordered = dataset.ordered_indices()
        self._ordered = task.filter_indices_by_size(ordered, dataset, limits, True)
        if len(self._ordered) == 0:
            raise ValueError(
                f"no sentence is as short as model and --max-tokens {max_tokens} ask for; pass a "
                "larger --max-tokens"
            )
        self._sizes = np.array([dataset.num_tokens(i) for i in self._ordered])
        self.tokens_per_sentence = float(target_sizes(dataset, self._ordered).mean())

    @property
    def sentences(self) -> int:
        """Return how many sentences are drawn from."""
        return len(self._ordered)

    @property
    def has_lengths(self) -> bool:
        """Tell whether sentences differ in length, so that fairseq's batches are not random."""
        return bool(np.quantile(self._sizes, 0.05) < self._sizes.max())

    @property
    def sentences_per_batch(self) -> int:
        """Return B of random micro-batches: they hold ``max_tokens`` tokens on average."""
        count = max(1, int(self.max_tokens // self._sizes.mean()))
        return min(count, self.max_sentences or count)

    def random(self, count: int, seed: Sequence[int]) -> list[MicroBatch]:
        """Return micro-batches of B random sentences of all lengths.

        Args:
            count: K.
            seed: of the draw.
        """
        generator = np.random.default_rng([*seed, 0])
        # In the order of lengths, so that the parts of a micro-batch need little padding.
        positions = generator.integers(self.sentences, size=(count, self.sentences_per_batch))
        return [MicroBatch(self._batched(self._ordered[np.sort(p)])) for p in positions]

    def by_length(self, count: int, seed: Sequence[int]) -> list[MicroBatch]:
        """Return micro-batches drawn from those that fairseq makes of sentences of like length.

        Args:
            count: K.
            seed: of the draw.
        """
        batches = self._batched(self._ordered)
        generator = np.random.default_rng([*seed, 1])
        return [MicroBatch([batches[i]]) for i in generator.integers(len(batches), size=count)]

    def tokens_per_batch(self, max_tokens: int | None, max_sentences: int | None) -> float:
        """Return the mean target tokens of the micro-batches that fairseq makes.

        Args:
            max_tokens: ``--max-tokens``.
            max_sentences: ``--batch-size``.
        """
        count = len(self.dataset.batch_by_size(self._ordered, max_tokens, max_sentences))
        return self.tokens_per_sentence * self.sentences / count

    def _batched(self, ids: Ids) -> list[Ids]:
        batches = self.dataset.batch_by_size(ids, self.max_tokens, self.max_sentences)
        return [np.asarray(batch) for batch in batches]


def collate(dataset: Any, part: Ids, seen: dict[int, int]) -> dict[str, Any]:
    """Make a mini-batch; a sentence that comes again gets an id, and so noise, of its own.

    Args:
        dataset: of fairseq.
        part: sentence ids.
        seen: how often each sentence was in this micro-batch so far; it is counted on.
    """
    items = []
    for index in part.tolist():
        again = seen.get(index, 0)
        seen[index] = again + 1
        item = dataset[index]
        items.append({**item, "id": item["id"] + again * len(dataset)})
    batch: dict[str, Any] = dataset.collater(items)
    batch["first_sentence"] = min(item["id"] for item in items)
    return batch
