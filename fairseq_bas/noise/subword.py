"""Sample another subword segmentation of a sentence for each of its copies.

Unigram models draw a segmentation in proportion to P^alpha (Kudo 2018, arXiv 1804.10959), BPE
models leave out merges at random (Provilkov, Emelianenko and Voita 2020, arXiv 1910.13267). The
sampler is sentencepiece's; every draw starts from a seed of its own.

Shapes: T tokens of a sentence.
"""

import logging
import math
import os
import random
import threading
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..rng import derive_seed
from .subword_model import load_model, model_type, sampling_alpha, text_pieces

logger = logging.getLogger(__name__)

ATTEMPTS = 8
"""Draws for one copy before it may equal another: short sentences have few segmentations."""
GROWTH_SAMPLE = 500

# sentencepiece has one seed for all threads: none may seed between another's seeding and drawing.
_seeding = threading.Lock()
os.register_at_fork(
    before=_seeding.acquire, after_in_parent=_seeding.release, after_in_child=_seeding.release
)


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
        nbest: unigram: draw from the whole lattice (-1) or from that many best (2 to 512).
        flag: what the user calls this, for messages.

    Raises:
        ValueError: if the file is no unigram or BPE model, if the dictionary lacks some of its
            pieces, if a number is out of range, or if the installed sentencepiece cannot be seeded.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        symbols: Sequence[str],
        strength: float,
        nbest: int = -1,
        flag: str = "subword sampling",
    ):
        self.model_path, self.flag = os.fspath(model_path), flag
        self.processor = load_model(self.model_path, flag)
        self.model_type = model_type(self.processor, self.model_path, flag)
        self.nbest = nbest
        self.alpha = sampling_alpha(self.model_type, strength, nbest, flag)
        self.symbols = list(symbols)
        self._index_pieces()
        self._require_reseeding()

    def _index_pieces(self) -> None:
        """Map ids of the dictionary to ids of the model and back; -1 where there is none."""
        ids = {symbol: index for index, symbol in enumerate(self.symbols)}
        pieces = text_pieces(self.processor)
        required = [p for i, p in pieces.items() if not self.processor.is_byte(i)]
        missing = [piece for piece in required if piece not in ids]
        if missing:
            raise ValueError(
                f"{self.flag}: the dictionary lacks {len(missing)} of the {len(required)} pieces "
                f"of {self.model_path}, {missing[0]!r} for one, and samples with them would turn "
                "into unknown words; make the dictionary from the model with data/subword.py and "
                "pass it to fairseq-preprocess --srcdict"
            )
        self._symbol_of = [-1] * len(self.processor)
        self._piece_of = [-1] * len(self.symbols)
        for index, piece in pieces.items():
            if piece in ids:
                self._symbol_of[index], self._piece_of[ids[piece]] = ids[piece], index

    def _require_reseeding(self) -> None:
        longest = sorted(text_pieces(self.processor).items(), key=lambda item: -len(item[1]))[:100]
        text = self.processor.decode([index for index, _ in longest])
        if len({tuple(_draw(self.processor, text, 1, 0.3, -1)) for _ in range(3)}) > 1:
            raise ValueError(
                f"{self.flag}: the installed sentencepiece ignores a new seed after its first "
                "sample, so no run could be repeated; install sentencepiece 0.2.3 or later"
            )

    def can_sample(self, ids: Tensor) -> bool:
        """Tell whether a sentence (T,) can be turned into text and segmented again.

        Special symbols at its ends are set aside. It cannot if there is an unknown or another
        special symbol inside, or if its text is not what the model would make of it.
        """
        return self._split(ids.tolist()) is not None

    def sample(
        self,
        ids: Tensor,
        seeds: Sequence[int],
        distinct: bool,
        taken: Collection[Tensor] = (),
        max_tokens: float = math.inf,
    ) -> list[Tensor]:
        """Draw one segmentation for each seed.

        A copy depends on its own seed and, where ``distinct``, on the copies before it; on nothing
        else, and no random state outside sentencepiece is used or changed.

        Args:
            ids: (T,) int64, a sentence; special symbols at its ends, such as eos, are kept.
            seeds: whole numbers >= 0.
            distinct: draw again what an earlier copy is, up to `ATTEMPTS` draws in all, then keep
                the first of them.
            taken: sentences that count as earlier copies.
            max_tokens: greatest length, special symbols included.

        Returns:
            For each seed (T',) int64; ``ids`` itself where the sentence cannot be sampled (see
            `can_sample`) or the sample has more than ``max_tokens``.
        """
        parts = self._split(ids.tolist())
        if parts is None:
            return [ids] * len(seeds)
        seen = {tuple(other.tolist()) for other in taken}
        copies = []
        for seed in seeds:
            tokens = self._sample(*parts, seed, seen if distinct else ())
            if tokens is None or len(tokens) > max_tokens:
                tokens = ids.tolist()
            seen.add(tuple(tokens))
            copies.append(torch.tensor(tokens, dtype=ids.dtype))
        return copies

    def _split(self, ids: list[int]) -> tuple[list[int], str, list[int]] | None:
        """Return the special symbols before the text, the text, and those after it, or None."""
        pieces = [self._piece_of[i] for i in ids]
        start, end = 0, len(pieces)
        while start < end and pieces[start] < 0:
            start += 1
        while end > start and pieces[end - 1] < 0:
            end -= 1
        body = pieces[start:end]
        if not body or -1 in body:
            return None
        text = self.processor.decode(body)
        surface = "".join(self.symbols[i] for i in ids[start:end])
        if "".join(self.processor.encode(text, out_type=str)) != surface:
            return None
        return ids[:start], text, ids[end:]

    def _sample(
        self, before: list[int], text: str, after: list[int], seed: int, seen: Collection[Any]
    ) -> list[int] | None:
        """Return the first draw not in ``seen``, else the first of all; None if it has unknowns."""
        first = None
        for attempt in range(ATTEMPTS):
            another = seed + attempt * 0x9E3779B9
            drawn = _draw(self.processor, text, another, self.alpha, self.nbest)
            tokens = [*before, *(self._symbol_of[piece] for piece in drawn), *after]
            if -1 in tokens:
                return None
            if tuple(tokens) not in seen:
                return tokens
            first = first or tokens
        return first


def _draw(processor: Any, text: str, seed: int, alpha: float, nbest: int) -> list[int]:
    import sentencepiece

    with _seeding:
        # Seeds have 32 bits, and the last of them asks for an unpredictable one.
        sentencepiece.set_random_generator_seed(seed % (2**32 - 1))
        return processor.encode(text, enable_sampling=True, alpha=alpha, nbest_size=nbest)


def expected_growth(sampler: SubwordSampler, sentences: Sentences, seed: int) -> float:
    """Estimate how much longer sampling makes a data set.

    Args:
        sampler: what samples it.
        sentences: the stored sentences, eos included.
        seed: the run's ``--seed``; it picks up to `GROWTH_SAMPLE` sentences.

    Returns:
        Tokens of one sample of each, summed, over the sum of stored tokens; 1.0 without sentences.

    Raises:
        ValueError: if none of the sentences can be sampled.
    """
    chosen = random.Random(seed).sample(range(len(sentences)), min(len(sentences), GROWTH_SAMPLE))
    stored = sampled = kept = 0
    for index in chosen:
        ids = sentences[index]
        [copy] = sampler.sample(ids, [derive_seed(seed, "subword", 0, index, 0, 0)], distinct=False)
        stored, sampled = stored + len(ids), sampled + len(copy)
        kept += not sampler.can_sample(ids)
    if chosen and kept == len(chosen):
        raise ValueError(
            f"{sampler.flag}: none of the {kept} sentences looked at is text as segmented by "
            f"{sampler.model_path}; give the model that segmented the training text"
        )
    if kept > len(chosen) // 10:
        logger.warning(
            f"{sampler.flag} leaves {kept} of {len(chosen)} sentences as they are: they hold "
            f"unknown words or were not segmented by {sampler.model_path}"
        )
    return sampled / stored if stored else 1.0
