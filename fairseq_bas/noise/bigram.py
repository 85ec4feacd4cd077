"""Noise from bigram statistics, like Kneser-Ney smoothing (Xie et al. 2017, arXiv 1703.02573).

A word that many different words follow says little about the next one, and is replaced more often;
words that follow many different words are put in its place.

Shapes: R rows, T tokens, V vocabulary, S sentences.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from .keyed import uniform
from .replacement import cumulative_of, draw_symbols
from .words import positions

BLOCK = 50_000
"""Sentences counted at a time."""


@dataclass(frozen=True)
class BigramStatistics:
    """Hold what the noise draws from.

    Args:
        discount: (V,) float64 in [0, 1], N1+(x, .) / count(x): different words after x for each
            time that x is followed by a word; 0 for words that are not.
        cumulative: (V,) float64, cumulative distribution proportional to N1+(., x), the number of
            different words before x.
    """

    discount: Tensor
    cumulative: Tensor

    def to(self, device: torch.device) -> "BigramStatistics":
        """Return the statistics on ``device``."""
        return BigramStatistics(self.discount.to(device), self.cumulative.to(device))


def bigram_statistics(
    sentences: Iterable[Tensor], vocab_size: int, protected: Tensor
) -> BigramStatistics:
    """Count the bigrams of a text.

    Args:
        sentences: (T,) int64 each; bigrams do not cross from one to the next.
        vocab_size: V.
        protected: (V,) bool, symbols that are never put in a word's place.

    Returns:
        The statistics, on the CPU.

    >>> text = [torch.tensor([2, 3, 2, 4]), torch.tensor([2, 3])]
    >>> statistics = bigram_statistics(text, 5, torch.tensor([1, 1, 0, 0, 0]).bool())
    >>> [round(x, 3) for x in statistics.discount.tolist()]
    [0.0, 0.0, 0.667, 1.0, 0.0]
    """
    pairs, counts = _count_pairs(iter(sentences), vocab_size)
    left, right = pairs // vocab_size, pairs % vocab_size
    followed = np.bincount(left, weights=counts, minlength=vocab_size)
    distinct_right = np.bincount(left, minlength=vocab_size)
    distinct_left = np.bincount(right, minlength=vocab_size).astype(np.float64)
    distinct_left[protected.numpy()] = 0.0
    if not distinct_left.any():
        distinct_left = (~protected).numpy().astype(np.float64)
    discount = distinct_right / np.maximum(followed, 1)
    return BigramStatistics(
        torch.from_numpy(discount), cumulative_of(torch.from_numpy(distinct_left))
    )


def _count_pairs(sentences: Iterable[Tensor], vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the different bigrams, as left * V + right, and how often each occurs."""
    pairs, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    while block := [np.asarray(s, dtype=np.int64) for s in islice(sentences, BLOCK)]:
        codes = [s[:-1] * vocab_size + s[1:] for s in block]
        new, often = np.unique(np.concatenate(codes), return_counts=True)
        pairs, inverse = np.unique(np.concatenate([pairs, new]), return_inverse=True)
        counts = np.bincount(inverse, weights=np.concatenate([counts, often]))
    return pairs, counts


def bigram_noise(
    tokens: Tensor,
    editable: Tensor,
    context: Tensor,
    keys: Tensor,
    gamma: Tensor,
    statistics: BigramStatistics,
    padding: int,
) -> Tensor:
    """Replace tokens at the rate gamma * N1+(x, .) / count(x), x the token in ``context``.

    Args:
        tokens: (R, T) int64.
        editable: (R, T) bool, tokens that may be replaced.
        context: (R, T) int64: the tokens themselves for input; for labels, the input before each.
        keys: (R,) int64.
        gamma: (R,) float64 in [0, 1], the paper's gamma_0.
        statistics: on the device of ``tokens``.
        padding: id of the padding symbol.

    Returns:
        (R, T) int64.
    """
    count, position = tokens.size(1), positions(tokens.eq(padding))
    rate = gamma[:, None] * statistics.discount[context]
    chosen = editable & (uniform(keys, "bigram", count).gather(1, position) < rate)
    draws = uniform(keys, "bigram symbol", count).gather(1, position)
    return torch.where(chosen, draw_symbols(draws, statistics.cumulative), tokens)
