"""Sample another subword segmentation of a sentence for each of its copies.

Unigram models draw a segmentation in proportion to P^alpha (Kudo 2018, arXiv 1804.10959), BPE
models leave out merges at random (Provilkov, Emelianenko and Voita 2020, arXiv 1910.13267). Every
draw comes from a seed of its own, the same in any process.

Shapes: B sentences, R copies of each, T tokens of one.
"""

import math
import os
import random
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from ..rng import derive_seed
from .counter_hash import child_keys
from .distinct_draws import distinct_copies
from .joined_rows import ranges
from .segmentation import walk_of
from .sentence_words import SentenceWords
from .subword_model import read_model, require_pieces
from .vocabulary import SENTENCEPIECE_MARK
from .word_draws import WordDraws

ATTEMPTS = 16
"""Draws for one copy before it may equal another: short sentences have few segmentations."""
GROWTH_SAMPLE = 500


class Sentences(Protocol):
    """A sequence of sentences, each (T,) int64."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor: ...


class SubwordSampler:
    """Draw segmentations of sentences that a sentencepiece model has segmented.

    Args:
        model_path: the ``.model`` file that segmented the training text, unigram or BPE.
        symbols: the fairseq dictionary's symbols by id.
        strength: unigram: alpha > 0, the inverse temperature of Kudo 2018, smaller is noisier;
            BPE: p in (0, 1), the drop probability of Provilkov et al. 2020.
        nbest: unigram: draw from all segmentations (-1) or from that many best (2 to 512).
        flag: what the user calls this, for messages.

    Raises:
        ValueError: if the file is no unigram or BPE model, if the dictionary lacks some of its
            pieces, or if a number is out of range.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        symbols: Sequence[str],
        strength: float,
        nbest: int = -1,
        flag: str = "subword sampling",
    ):
        self.flag = flag
        self.symbols = list(symbols)
        self.model = model = read_model(os.fspath(model_path), flag)
        ids = {symbol: index for index, symbol in enumerate(self.symbols)}
        require_pieces(model, ids, flag)
        id_of = {piece: ids[piece] for piece in model.scores}
        self._draws = WordDraws(walk_of(model, strength, nbest, id_of, flag))
        is_text = np.array([symbol in model.scores for symbol in self.symbols])
        # Words are drawn one by one, except where the n best are those of the sentence.
        side = model.mark_side() if nbest == -1 else "anywhere"
        marked = {"start": str.startswith, "end": str.endswith, "anywhere": lambda *_: False}[side]
        has_mark = np.array([marked(symbol, SENTENCEPIECE_MARK) for symbol in self.symbols])
        self._codes = child_keys(np.arange(len(self.symbols)), np.zeros(1, np.int64))
        opens, closes = has_mark & (side == "start"), has_mark & (side == "end")
        self._words = SentenceWords(self._draws, self.symbols, is_text, opens, closes, self._codes)

    def sample(
        self,
        ids: Tensor,
        keys: Sequence[int],
        distinct: bool,
        taken: Sequence[Tensor] = (),
        max_tokens: float = math.inf,
    ) -> list[Tensor]:
        """Draw segmentations of one sentence, as `sample_batch` does of many.

        Args:
            ids: (T,) int64, the sentence.
            keys: one whole number for each copy.
            distinct: draw again what an earlier copy is.
            taken: sentences that count as earlier copies.
            max_tokens: greatest length, special symbols included.

        Returns:
            For each key (T',) int64.
        """
        row = np.array([keys], np.int64)
        return self.sample_batch([ids], row, distinct, [taken], max_tokens)[0]

    def sample_batch(
        self,
        sentences: Sequence[Tensor],
        keys: np.ndarray,
        distinct: bool,
        taken: Sequence[Sequence[Tensor]] | None = None,
        max_tokens: float = math.inf,
    ) -> list[list[Tensor]]:
        """Draw R segmentations of each sentence.

        Symbols that are no text of the model, such as eos, unknown words, language tags and bytes,
        stay where they are; the text between them is segmented anew. A copy depends on its own key
        and, where ``distinct``, on the copies before it; no random state outside is used.

        Args:
            sentences: B of them, each (T,) int64.
            keys: (B, R) int64, what each copy is drawn from.
            distinct: draw again what an earlier copy is, up to `ATTEMPTS` draws in all, then keep
                the first of them.
            taken: for each sentence those that count as earlier copies.
            max_tokens: greatest length, special symbols included.

        Returns:
            For each sentence R of (T',) int64; the sentence as it was given where the sample has
            more than ``max_tokens``.
        """
        if not keys.size:
            return [[] for _ in sentences]
        words, counts = self._words.numbers(sentences)
        first = np.cumsum(counts) - counts

        def draw(chosen: np.ndarray, attempts: range) -> tuple[np.ndarray, np.ndarray]:
            return self._draw(words, first[chosen], counts[chosen], keys[chosen], attempts)

        taken = taken or [()] * len(sentences)
        attempts = ATTEMPTS if distinct else 1
        return distinct_copies(draw, sentences, taken, self._codes, max_tokens, attempts)

    def _draw(
        self,
        words: np.ndarray,
        first: np.ndarray,
        counts: np.ndarray,
        keys: np.ndarray,
        attempts: range,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Make the draws of sentences that `distinct_copies` asks for.

        Args:
            words: numbers of the words of all sentences.
            first: (B,) int64, the first word of each sentence.
            counts: (B,) int64, how many it has.
            keys: (B, R) int64, of its copies.
            attempts: numbers of the draws of each copy.
        """
        num_rows = keys.shape[1] * len(attempts)
        rows = child_keys(keys[:, :, None], np.array(attempts)).ravel()
        first, counts = np.repeat(first, num_rows), np.repeat(counts, num_rows)
        place = ranges(np.zeros(len(counts), np.int64), counts)
        word_keys = child_keys(np.repeat(rows, counts), place)
        place += np.repeat(first, counts)
        ids, lengths = self._draws.draw(words.take(place), word_keys)
        ends = np.concatenate([[0], np.cumsum(lengths)])[np.cumsum(counts)]
        return ids, np.diff(ends, prepend=0)


def copy_keys(
    seed: int, epoch: int, side: int, sentences: Sequence[int], replicas: Sequence[int]
) -> np.ndarray:
    """Make the keys of copies.

    Args:
        seed: the run's ``--seed``.
        epoch: its number; 0 where none has begun.
        side: 0 for the source, 1 for the target.
        sentences: B sentence ids.
        replicas: R replica numbers.

    Returns:
        (B, R) int64.
    """
    key = np.array([derive_seed(seed, "subword", epoch, side)])
    by_sentence = child_keys(key, np.array(sentences, np.int64))
    return child_keys(by_sentence[:, None], np.array(replicas, np.int64))


def expected_growth(sampler: SubwordSampler, sentences: Sentences, seed: int) -> float:
    """Estimate how much longer sampling makes a data set.

    Args:
        sampler: what samples it.
        sentences: the stored sentences, eos included.
        seed: the run's ``--seed``; it picks up to `GROWTH_SAMPLE` sentences.

    Returns:
        Tokens of one sample of each, summed, over the sum of stored tokens; 1.0 without sentences.
    """
    count = min(len(sentences), GROWTH_SAMPLE)
    chosen = random.Random(seed).sample(range(len(sentences)), count)
    stored = [sentences[index] for index in chosen]
    keys = copy_keys(seed, 0, 0, chosen, range(1))
    copies = sampler.sample_batch(stored, keys, distinct=False)
    tokens = sum(map(len, stored))
    return sum(len(copy) for [copy] in copies) / tokens if tokens else 1.0
