"""The words of stored sentences, as the numbers by which they are drawn.

Every epoch asks for the same sentences, so what was found of them is kept.

Shapes: B sentences, T tokens of one, V ids that there are.
"""

from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise

import numpy as np
import torch
from torch import Tensor

from .word_draws import WordDraws
from .word_index import WordIndex

KEPT_IDS = 1 << 21
"""Ids of the sentences that are kept, some 40 MiB; others are split whenever they are asked for."""


class SentenceWords:
    """Split sentences into words, of which a model segments each by itself.

    What is no text counts as a word that is written in one way.

    Args:
        draws: gives words their numbers.
        symbols: V symbols by id.
        is_text: (V,) bool, which of them are text of the model.
        opens: (V,) bool, which of them begin a word.
        closes: (V,) bool, which of them end one.
        codes: (V,) int64, random bits for every id.
    """

    def __init__(
        self,
        draws: WordDraws,
        symbols: Sequence[str],
        is_text: np.ndarray,
        opens: np.ndarray,
        closes: np.ndarray,
        codes: np.ndarray,
    ):
        self._draws, self._symbols = draws, symbols
        self._is_text, self._opens, self._closes = is_text, opens | ~is_text, closes | ~is_text
        self._index = WordIndex(codes, self._number)
        self._clear()

    def _clear(self) -> None:
        self._index.clear()
        self._kept: dict[bytes, np.ndarray] = {}  # the numbers of a sentence by its ids
        self._room = KEPT_IDS

    def numbers(self, sentences: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of all words, good until the next call, and how many each has.

        Args:
            sentences: B of them, each (T,) int64.

        Returns:
            int64, the words of all sentences, joined; (B,) int64.
        """
        if self._draws.make_room():
            self._clear()
        contents = _contents(sentences)
        found = [*map(self._kept.get, contents)]
        new = [i for i, numbers in enumerate(found) if numbers is None]
        if new:
            for i, numbers in zip(new, self._split([sentences[i] for i in new]), strict=True):
                found[i] = numbers
                self._keep(contents[i], numbers)
        each = [numbers for numbers in found if numbers is not None]
        return np.concatenate(each), np.fromiter(map(len, each), np.int64, len(each))

    def _keep(self, content: bytes, numbers: np.ndarray) -> None:
        if self._room > 0:
            self._kept[content] = numbers
            self._room -= len(content) // 8

    def _split(self, sentences: Sequence[Tensor]) -> list[np.ndarray]:
        lengths = np.array([ids.numel() for ids in sentences], np.int64)
        ids = torch.cat(list(sentences)).numpy()
        begins = self._opens[ids]
        begins[1:] |= self._closes[ids[:-1]]
        ends = np.cumsum(lengths)
        begins[(ends - lengths)[lengths > 0]] = True
        words_before = np.concatenate([[0], np.cumsum(begins)])
        numbers = self._index.find(ids, np.flatnonzero(begins))
        each = np.split(numbers, words_before[ends[:-1]])
        return [self._unrefused(own, ids) for own, ids in zip(each, sentences, strict=True)]

    def _unrefused(self, numbers: np.ndarray, ids: Tensor) -> np.ndarray:
        """Keep runs of text as they are stored if the model cannot write a word of the sentence."""
        if not (numbers == -1).any():
            return numbers
        runs = groupby(ids.tolist(), key=self._is_text.__getitem__)
        return np.array([self._draws.add_fixed(list(run)) for _, run in runs], np.int64)

    def _number(self, ids: np.ndarray) -> int:
        if not self._is_text[ids[0]]:
            return self._draws.add_fixed(ids.tolist())
        return self._draws.add("".join([self._symbols[i] for i in ids]))


def _contents(sentences: Sequence[Tensor]) -> list[bytes]:
    # Of all of them at once, as making an array of a tensor takes as long as drawing a few words.
    joined = torch.cat(list(sentences)).numpy().tobytes()
    ends = list(accumulate(8 * ids.numel() for ids in sentences))
    return [joined[begin:end] for begin, end in pairwise([0, *ends])]
