"""Draw a segmentation of a word: from a unigram model, or by byte-pair encoding with dropout.

sentencepiece can do both, but its random numbers cannot be repeated: up to 0.2.1 a thread keeps its
first seed, and 0.2.3 draws other numbers from the same seed in every process. Its BPE dropout also
is another one than the paper's: a dropped merge is gone until a neighbour changes. At p = 0.1 that
leaves 1.32 times the tokens of p = 0, the paper's algorithm 1.18 times (mean over 15 models of 100
to 8,000 subwords: English, Spanish, both, a novel, a toy grammar).

A segmenter is called with a text and a random number and returns pieces, or None if it cannot.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from .point import Point
from .vocabulary import SENTENCEPIECE_MARK

CACHE = 1 << 15
"""Entries that a segmenter remembers before it starts anew; they are no part of what it draws."""


class UnigramLattice:
    """Draw from all segmentations of a text in proportion to P^alpha (Kudo 2018, section 3.2).

    P is the product of the probabilities of the pieces. Sums over the rest of the text, made once a
    text, give the exact probability of the next piece, so a draw takes one step for each piece.

    Args:
        scores: log-probability of each piece.
        alpha: inverse temperature, > 0.

    >>> lattice = UnigramLattice({"a": -1.0, "b": -1.0, "ab": -9.0}, alpha=5.0)
    >>> lattice("ab", Point(0.5))
    ['a', 'b']
    """

    def __init__(self, scores: Mapping[str, float], alpha: float):
        self.scaled = {piece: alpha * score for piece, score in scores.items()}
        self.longest = max(map(len, scores), default=0)
        self._steps: dict[str, list[tuple[list[float], list[str]]]] = {}

    def __call__(self, text: str, point: Point) -> list[str] | None:
        """Draw the pieces of a text; None if it has no segmentation."""
        steps = self._steps.get(text)
        if steps is None:
            if len(self._steps) >= CACHE:
                self._steps.clear()
            steps = self._steps[text] = self._forward_steps(text)
        pieces: list[str] = []
        position = 0
        while position < len(text):
            cumulated, choices = steps[position]
            if not choices:
                return None
            pieces.append(choices[point.choose(cumulated)])
            position += len(pieces[-1])
        return pieces

    def _forward_steps(self, text: str) -> list[tuple[list[float], list[str]]]:
        """Return, for each position, the pieces that can come next and their cumulated weights."""
        rest = [-math.inf] * len(text) + [0.0]  # log of the sum over segmentations of text[i:]
        steps: list[tuple[list[float], list[str]]] = [([], [])] * len(text)
        for start in reversed(range(len(text))):
            last = min(len(text), start + self.longest)
            spans = (text[start:end] for end in range(start + 1, last + 1))
            logs = {
                piece: self.scaled[piece] + rest[start + len(piece)]
                for piece in spans
                if piece in self.scaled and rest[start + len(piece)] > -math.inf
            }
            if logs:
                top = max(logs.values())
                cumulated = list(accumulate(math.exp(log - top) for log in logs.values()))
                rest[start] = top + math.log(cumulated[-1])
                steps[start] = (cumulated, list(logs))
        return steps


class MergeDropout:
    """Merge characters into pieces, leaving out merges at random (Provilkov et al. 2020, alg. 1).

    Before every merge each candidate is dropped with probability p, and the best that is left is
    made; dropped ones are candidates again for the next. It ends when none is left. As with
    sentencepiece, neighbours can merge whose union is a piece, the best score and the leftmost
    first; p = 0 gives its own segmentation.

    Args:
        scores: priority of each piece.
        p: drop probability, in [0, 1).

    >>> merge = MergeDropout({"a": 0, "b": 0, "ab": -1, "abab": -2}, p=0.0)
    >>> merge("abab", Point(0.5))
    ['abab']
    """

    def __init__(self, scores: Mapping[str, float], p: float):
        self.scores, self.p = scores, p
        self._candidates: dict[tuple[str, ...], list[int]] = {}

    def __call__(self, text: str, point: Point) -> list[str]:
        """Draw the pieces of a text; characters that are no piece stay alone."""
        tokens = tuple(text)
        while True:
            candidates = self._candidates.get(tokens)
            if candidates is None:
                if len(self._candidates) >= CACHE:
                    self._candidates.clear()
                candidates = self._candidates[tokens] = self._by_priority(tokens)
            # The k best were dropped with probability p^k; that it is fewer, in running sums:
            below = [1.0 - self.p**k for k in range(1, len(candidates) + 1)]
            dropped = point.choose([*below, 1.0])
            if dropped == len(candidates):
                return list(tokens)
            left = candidates[dropped]
            tokens = (*tokens[:left], tokens[left] + tokens[left + 1], *tokens[left + 2 :])

    def _by_priority(self, tokens: tuple[str, ...]) -> list[int]:
        """Return the positions that can merge with their right neighbour, the best first."""
        scores = {i: self.scores.get(a + b) for i, (a, b) in enumerate(pairwise(tokens))}
        ranked = [(-score, i) for i, score in scores.items() if score is not None]
        return [i for _, i in sorted(ranked)]


class BestSegmentations:
    """Draw from the n best segmentations of a whole sentence in proportion to P^alpha (Kudo 2018).

    Args:
        processor: a sentencepiece unigram model.
        id_of: number of each piece.
        scores: log-probability of each piece.
        alpha: inverse temperature, > 0.
        count: n.
    """

    def __init__(
        self,
        processor: Any,
        id_of: Mapping[str, int],
        scores: Mapping[str, float],
        alpha: float,
        count: int,
    ):
        self.processor, self.id_of, self.scores = processor, id_of, scores
        self.alpha, self.count = alpha, count
        self._found: dict[str, tuple[Sequence[list[int]], list[float]]] = {}

    def __call__(self, texts: Iterable[str], values: Iterable[float]) -> list[int] | None:
        """Return the ids that numbers in [0, 1) stand for, one number a sentence, joined.

        None if sentencepiece would write a sentence another way.
        """
        found: list[int] = []
        for text, value in zip(texts, values, strict=True):
            if text not in self._found:
                if len(self._found) >= 256:  # enough for the copies of one sentence
                    self._found.clear()
                self._found[text] = self._best(text)
            best, cumulated = self._found[text]
            if not best:
                return None
            drawn = bisect_right(cumulated, value * cumulated[-1])
            found += best[min(drawn, len(best) - 1)]
        return found

    def _best(self, text: str) -> tuple[Sequence[list[int]], list[float]]:
        raw = text.replace(SENTENCEPIECE_MARK, " ")
        best = self.processor.nbest_encode(raw, nbest_size=self.count, out_type=str)
        if any("".join(pieces) != text or not set(pieces) <= self.scores.keys() for pieces in best):
            return [], []
        logs = [self.alpha * sum(self.scores[piece] for piece in pieces) for pieces in best]
        ids = [[self.id_of[piece] for piece in pieces] for pieces in best]
        return ids, list(accumulate(math.exp(log - max(logs)) for log in logs))
