"""Sample another subword segmentation of a sentence for each of its copies.

Unigram models draw a segmentation in proportion to P^alpha (Kudo 2018, arXiv 1804.10959), BPE
models leave out merges at random (Provilkov, Emelianenko and Voita 2020, arXiv 1910.13267). Every
draw comes from a seed of its own, the same in any process.

Shapes: T tokens of a sentence.
"""

import math
import os
import random
import re
from array import array
from collections.abc import Collection, Container, Mapping, Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from ..rng import derive_seed
from .point import RememberedDraws, numbers
from .segmentation import BestSegmentations, MergeDropout, UnigramLattice
from .subword_model import SubwordModel, read_model

ATTEMPTS = 16
"""Draws for one copy before it may equal another: short sentences have few segmentations."""
GROWTH_SAMPLE = 500
MAX_NBEST = 512


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
        _require_pieces(model, ids, flag)
        self._is_text = [symbol in model.scores for symbol in self.symbols]
        id_of = {piece: ids[piece] for piece in model.scores}
        self._segment = _segmenter(model, strength, nbest, id_of, flag)
        # Words are drawn one by one, except where the n best are those of the sentence.
        self._word = model.word_pattern() if nbest == -1 else re.compile(".+", re.DOTALL)

    def sample(
        self,
        ids: Tensor,
        seeds: Sequence[int],
        distinct: bool,
        taken: Collection[Tensor] = (),
        max_tokens: float = math.inf,
    ) -> list[Tensor]:
        """Draw one segmentation for each seed.

        Symbols that are no text of the model, such as eos, unknown words, language tags and bytes,
        stay where they are; the text between them is segmented anew. A copy depends on its own seed
        and, where ``distinct``, on the copies before it; no random state outside is used.

        Args:
            ids: (T,) int64, a sentence.
            seeds: whole numbers.
            distinct: draw again what an earlier copy is, up to `ATTEMPTS` draws in all, then keep
                the first of them.
            taken: sentences that count as earlier copies.
            max_tokens: greatest length, special symbols included.

        Returns:
            For each seed (T',) int64; ``ids`` itself where the sample has more than ``max_tokens``.
        """
        stored = ids.tolist()
        runs = self._runs(stored)
        seen = {tuple(other.tolist()) for other in taken}
        copies = []
        for seed in seeds:
            tokens = self._draw(runs, seed, seen if distinct else ())
            if len(tokens) > max_tokens:
                tokens = stored
            seen.add(tuple(tokens))
            copies.append(_tensor(tokens))
        return copies

    def _runs(self, ids: list[int]) -> list[tuple[list[str], list[int]]]:
        """Split a sentence where text begins or ends: the words of each run, none if no text."""
        runs = []
        for is_text, group in groupby(ids, key=self._is_text.__getitem__):
            run = list(group)
            text = "".join(self.symbols[i] for i in run) if is_text else ""
            runs.append((self._word.findall(text), run))
        return runs

    def _draw(
        self, runs: list[tuple[list[str], list[int]]], seed: int, seen: Container[tuple[int, ...]]
    ) -> list[int]:
        """Return the first draw that is not in ``seen``, or else the first."""
        first, count = None, sum(len(words) for words, _ in runs)
        for attempt in range(ATTEMPTS):
            drawn = numbers(seed + attempt * 0x9E3779B97F4A7C15, count)
            tokens: list[int] = []
            first_word = 0
            for words, stored in runs:
                values = drawn[first_word : first_word + len(words)]
                first_word += len(words)
                tokens += (words and self._segment(words, values)) or stored
            if tuple(tokens) not in seen:
                return tokens
            first = first or tokens
        return first or []


def _tensor(ids: list[int]) -> Tensor:
    """Return a new tensor (T,) int64, from a buffer: ``torch.tensor`` looks at each number."""
    return torch.frombuffer(array("q", ids), dtype=torch.int64) if ids else torch.empty(0).long()


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
    stored = sampled = 0
    for index in random.Random(seed).sample(range(len(sentences)), count):
        ids = sentences[index]
        [copy] = sampler.sample(ids, [derive_seed(seed, "subword", 0, index, 0, 0)], distinct=False)
        stored, sampled = stored + len(ids), sampled + len(copy)
    return sampled / stored if stored else 1.0


def _require_pieces(model: SubwordModel, ids: Container[str], flag: str) -> None:
    missing = [piece for piece in model.scores if piece not in ids]
    if missing:
        raise ValueError(
            f"{flag}: the dictionary lacks {len(missing)} of the {len(model.scores)} pieces of "
            f"{model.path}, {missing[0]!r} for one, and samples with them would turn into unknown "
            "words; make the dictionary from the model with data/subword.py and pass it to "
            "fairseq-preprocess --srcdict"
        )


def _segmenter(
    model: SubwordModel, strength: float, nbest: int, id_of: Mapping[str, int], flag: str
) -> RememberedDraws | BestSegmentations:
    """Return what draws the ids of a text's pieces, after checking what the user gave."""
    if model.kind == "bpe":
        if not 0 < strength < 1:
            raise ValueError(
                f"{flag}: {strength} is no probability of dropping a merge, as the model is BPE; "
                "give a number between 0 and 1, such as 0.1"
            )
        if nbest != -1:
            raise ValueError(
                f"{flag}: {nbest} best segmentations exist for unigram models only; leave the "
                "number out, as the model is BPE"
            )
        return RememberedDraws(MergeDropout(model.scores, strength), id_of)
    if not 0 < strength < math.inf:
        raise ValueError(
            f"{flag}: {strength} is no inverse temperature; give a number above 0, such as 0.2"
        )
    if nbest == -1:
        return RememberedDraws(UnigramLattice(model.scores, strength), id_of)
    if not 2 <= nbest <= MAX_NBEST:
        raise ValueError(
            f"{flag}: cannot draw from {nbest} best segmentations; give 2 to {MAX_NBEST}, or -1 "
            "for all"
        )
    return BestSegmentations(model.processor, id_of, model.scores, strength, nbest)
