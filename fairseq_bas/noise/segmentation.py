"""What can come next while a text is segmented: a unigram model's piece, or a merge with dropout.

sentencepiece can sample both, but its random numbers cannot be repeated: up to 0.2.1 a thread keeps
its first seed, and 0.2.3 draws other numbers from the same seed in every process. Its BPE dropout
also is another one than the paper's: a dropped merge is gone until a neighbour changes. At p = 0.1
that leaves 1.32 times the tokens of p = 0, the paper's algorithm 1.18 times (mean over 15 models of
100 to 8,000 subwords: English, Spanish, both, a novel, a toy grammar).

Each class is a walk of ``noise.random_walk``.
"""

import math
from collections.abc import Hashable, Mapping
from operator import add
from typing import Any

from .random_walk import Choice, Walk
from .subword_model import SubwordModel
from .vocabulary import SENTENCEPIECE_MARK

MAX_NBEST = 512
CACHE = 1 << 16
"""Texts that a segmenter remembers before it starts anew; they are no part of what is drawn."""


class UnigramLattice:
    """Walk through all segmentations of a text in proportion to P^alpha (Kudo 2018, section 3.2).

    P is the product of the probabilities of the pieces. A state is the text that is left; the sum
    over its segmentations gives the exact probability of the next piece.

    Args:
        scores: log-probability of each piece.
        alpha: inverse temperature, > 0.
        id_of: number of each piece.

    >>> scores = {"a": -1.0, "b": -1.0, "ab": -2.0}
    >>> lattice = UnigramLattice(scores, alpha=0.5, id_of={"a": 5, "b": 6, "ab": 7})
    >>> [(round(choice.probability, 3), choice.ids) for choice in lattice.choices("ab")]
    [(0.5, (5,)), (0.5, (7,))]
    """

    def __init__(self, scores: Mapping[str, float], alpha: float, id_of: Mapping[str, int]):
        self.scaled = {piece: alpha * score for piece, score in scores.items()}
        self.id_of = id_of
        self.longest = max(map(len, scores), default=0)
        self._log_sums: dict[str, float] = {}
        self._choices: dict[str, list[Choice]] = {}

    def begin(self, text: str) -> str | None:
        """Return the text; None if it has no segmentation."""
        return text if self._log_sum(text) > -math.inf else None

    def choices(self, text: str) -> list[Choice]:
        """Return the pieces that the text can begin with."""
        found = self._choices.get(text)  # words often end alike
        if found is None:
            if len(self._choices) >= CACHE:
                self._choices.clear()
            total = self._log_sum(text)
            found = self._choices[text] = [
                Choice(
                    math.exp(log - total),
                    (self.id_of[piece],),
                    None if len(piece) == len(text) else len(piece),
                )
                for piece, log in self._log_weights(text)
            ]
        return found

    def after(self, text: str, step: int) -> str:
        """Return the text after a piece of so many characters."""
        return text[step:]

    def _log_sum(self, text: str) -> float:
        """Return the log of the sum of P^alpha over the segmentations of a text."""
        sums = self._log_sums
        if text not in sums:
            if len(sums) + len(text) > CACHE:
                sums.clear()
            sums[""] = 0.0
            for start in reversed(range(len(text))):
                rest = text[start:]
                if rest not in sums:
                    logs = [log for _, log in self._log_weights(rest)]
                    top = max(logs, default=-math.inf)
                    total = sum(math.exp(log - top) for log in logs)
                    sums[rest] = top + math.log(total) if logs else top
        return sums[text]

    def _log_weights(self, text: str) -> list[tuple[str, float]]:
        """Return the pieces that can come first, each with the log of the sum over what follows."""
        spans = [text[:end] for end in range(1, min(len(text), self.longest) + 1)]
        weights = [
            (piece, self.scaled[piece] + self._log_sums[text[len(piece) :]])
            for piece in spans
            if piece in self.scaled
        ]
        return [(piece, log) for piece, log in weights if log > -math.inf]


class MergeDropout:
    """Merge characters into pieces, leaving out merges at random (Provilkov et al. 2020, alg. 1).

    Before every merge each candidate is dropped with probability p, and the best that is left is
    made; dropped ones are candidates again for the next. It ends when none is left. As with
    sentencepiece, neighbours can merge whose union is a piece, the best score and the leftmost
    first; p = 0 gives its own segmentation, which also stands in for one with a character that is
    no piece. A state is a sequence of tokens.

    Args:
        scores: priority of each piece.
        p: drop probability, in [0, 1).
        id_of: number of each piece.

    >>> scores = {"a": 0, "b": 0, "ab": -1}
    >>> merge = MergeDropout(scores, p=0.25, id_of={"a": 5, "b": 6, "ab": 7})
    >>> [(choice.probability, choice.ids) for choice in merge.choices(("a", "b"))]
    [(0.75, ()), (0.25, (5, 6))]
    >>> merge.choices(("ab",))
    [Choice(probability=1.0, ids=(7,), step=None)]
    """

    def __init__(self, scores: Mapping[str, float], p: float, id_of: Mapping[str, int]):
        self.scores, self.p, self.id_of = scores, p, id_of

    def begin(self, text: str) -> tuple[str, ...] | None:
        """Return the characters of a text; None if merging all there is leaves no pieces."""
        return tuple(text) if set(self._all_merged(text)) <= self.id_of.keys() else None

    def choices(self, tokens: tuple[str, ...]) -> list[Choice]:
        """Return the merges that can come next, and to make none."""
        candidates = self._by_priority(tokens)
        merges = [
            Choice(self.p**dropped * (1 - self.p), (), left)
            for dropped, left in enumerate(candidates)
        ]
        return [*merges, Choice(self.p ** len(candidates), self._ids(tokens))]

    def after(self, tokens: tuple[str, ...], step: int) -> tuple[str, ...]:
        """Return the tokens after a merge at this position."""
        return _merge(tokens, step)

    def _ids(self, tokens: tuple[str, ...]) -> tuple[int, ...]:
        if not set(tokens) <= self.id_of.keys():
            tokens = self._all_merged("".join(tokens))
        return tuple([self.id_of[token] for token in tokens])

    def _all_merged(self, text: str) -> tuple[str, ...]:
        tokens = tuple(text)
        while candidates := self._by_priority(tokens):
            tokens = _merge(tokens, candidates[0])
        return tokens

    def _by_priority(self, tokens: tuple[str, ...]) -> list[int]:
        """Return the positions that can merge with their right neighbour, the best first."""
        scores, unions = self.scores, map(add, tokens, tokens[1:])
        ranked = [(-scores[union], i) for i, union in enumerate(unions) if union in scores]
        return [i for _, i in sorted(ranked)]


def _merge(tokens: tuple[str, ...], left: int) -> tuple[str, ...]:
    return (*tokens[:left], tokens[left] + tokens[left + 1], *tokens[left + 2 :])


class BestSegmentations:
    """Draw from the n best segmentations of a whole text in proportion to P^alpha (Kudo 2018).

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

    def begin(self, text: str) -> tuple[tuple[str, ...], ...] | None:
        """Return the best segmentations; None if sentencepiece would write the text another way."""
        raw = text.replace(SENTENCEPIECE_MARK, " ")
        best = self.processor.nbest_encode(raw, nbest_size=self.count, out_type=str)
        if any("".join(pieces) != text or not set(pieces) <= self.scores.keys() for pieces in best):
            return None
        return tuple(map(tuple, best)) or None

    def choices(self, best: tuple[tuple[str, ...], ...]) -> list[Choice]:
        """Return each of them."""
        logs = [self.alpha * sum(self.scores[piece] for piece in pieces) for pieces in best]
        weights = [math.exp(log - max(logs)) for log in logs]
        return [
            Choice(weight / sum(weights), tuple(self.id_of[piece] for piece in pieces))
            for pieces, weight in zip(best, weights, strict=True)
        ]

    def after(self, best: tuple[tuple[str, ...], ...], step: Any) -> Hashable:
        """Raise an error, as every choice is the last."""
        raise LookupError(f"nothing comes after a whole text, {step!r} neither")


def walk_of(
    model: SubwordModel, strength: float, nbest: int, id_of: Mapping[str, int], flag: str
) -> Walk:
    """Return how a model segments words.

    Args:
        model: the model.
        strength: alpha (unigram) or p (BPE).
        nbest: how many of the best segmentations; -1 for all.
        id_of: number of each piece.
        flag: what the user calls this, for messages.

    Raises:
        ValueError: if a number is out of range.
    """
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
        return MergeDropout(model.scores, strength, id_of)
    if not 0 < strength < math.inf:
        raise ValueError(
            f"{flag}: {strength} is no inverse temperature; give a number above 0, such as 0.2"
        )
    if nbest == -1:
        return UnigramLattice(model.scores, strength, id_of)
    if not 2 <= nbest <= MAX_NBEST:
        raise ValueError(
            f"{flag}: cannot draw from {nbest} best segmentations; give 2 to {MAX_NBEST}, or -1 "
            "for all"
        )
    return BestSegmentations(model.processor, id_of, model.scores, strength, nbest)
