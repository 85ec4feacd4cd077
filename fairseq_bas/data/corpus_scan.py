"""What a binarised corpus holds: lengths, unknown words, copies, and what splits have in common.

One pass over the tokens, in the memory of a piece of text and of 8 bytes for each sentence of the
training set. Sentences are compared by their hashes. Shapes: S sentences, V entries of a
dictionary.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .sentence_hash import Hashes, pair_hashes, sentence_hashes
from .token_file import TokenFile, pieces

UNKNOWN = 3
"""Id of the unknown word in fairseq's dictionaries."""
_LONGEST = 1 << 16
KINDS = ("source", "target", "pair")
Advance = Callable[[int], None]


@dataclass
class SideCounts:
    """Count what one side of a split holds.

    Attributes:
        sentences: S.
        tokens: all of them, ends of sentence included.
        unknown: tokens that the dictionary did not have.
        empty: sentences without a word, as those of nothing but the end of sentence.
        longest: tokens of the longest sentence.
        histogram: sentences by their length in tokens, longer ones with the last.
        frequency: (V,) how often each entry of the dictionary occurs.
    """

    sentences: int = 0
    tokens: int = 0
    unknown: int = 0
    empty: int = 0
    longest: int = 0
    histogram: NDArray = field(default_factory=lambda: np.zeros(_LONGEST + 1, dtype=np.int64))
    frequency: NDArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def add(self, tokens: NDArray, lengths: NDArray) -> None:
        """Count more sentences: tokens (N,), lengths (S,)."""
        counts = np.bincount(tokens.astype(np.int64), minlength=len(self.frequency))
        counts[: len(self.frequency)] += self.frequency
        self.frequency = counts
        self.sentences += len(lengths)
        self.tokens += len(tokens)
        self.unknown = int(self.frequency[UNKNOWN]) if len(self.frequency) > UNKNOWN else 0
        self.empty += int((lengths <= 1).sum())
        self.longest = max(self.longest, int(lengths.max(initial=0)))
        capped = np.minimum(lengths, _LONGEST)
        self.histogram += np.bincount(capped, minlength=_LONGEST + 1)

    def percentile(self, percent: float) -> int:
        """Return the length that so many percent of the sentences do not exceed.

        >>> counts = SideCounts()
        >>> counts.add(np.full(10, 5), np.array([1, 2, 3, 4]))
        >>> counts.percentile(50), counts.percentile(99)
        (2, 4)
        """
        rank = max(1, int(np.ceil(self.sentences * percent / 100)))
        return int(np.searchsorted(np.cumsum(self.histogram), rank))

    def longer_than(self, length: int) -> int:
        """Return how many sentences have more tokens, for lengths up to 65,535."""
        return int(self.histogram[min(length, _LONGEST - 1) + 1 :].sum())


@dataclass
class SplitCounts:
    """Count what a split of a corpus holds.

    Attributes:
        sides: by the side's name, ``source`` and ``target``; a text alone has only a source.
        repeated: pairs (of a text: sentences) that were there before, within the split.
        copied: pairs whose sides are equal; None where the dictionaries differ.
        hashes: of its sentences by kind; none of the training set.
        seen: how many of them occur in the training set, by kind.
    """

    sides: dict[str, SideCounts]
    repeated: int = 0
    copied: int | None = None
    hashes: dict[str, Hashes] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)


class Seen:
    """Remember which sentences of a small set have occurred elsewhere.

    Args:
        wanted: hashes of the set, any order.
    """

    def __init__(self, wanted: Hashes):
        self._wanted = np.unique(wanted)
        self._found = np.zeros(len(self._wanted), dtype=bool)

    def note(self, hashes: Hashes) -> None:
        """Note sentences that occur elsewhere."""
        if len(self._wanted):
            place = np.searchsorted(self._wanted, hashes)
            place[place == len(self._wanted)] = 0
            self._found[place[self._wanted[place] == hashes]] = True

    def count(self, hashes: Hashes) -> int:
        """Return how many of these sentences of the set have occurred.

        >>> seen = Seen(np.uint64([7, 5, 5]))
        >>> seen.note(np.uint64([5, 6]))
        >>> seen.count(np.uint64([7, 5, 5]))
        2
        """
        return int(self._found[np.searchsorted(self._wanted, hashes)].sum())


def repeated(hashes: Hashes) -> int:
    """Count the sentences that were there before; sorts in place.

    >>> repeated(np.uint64([3, 1, 3, 3]))
    2
    """
    hashes.sort()
    return int((hashes[1:] == hashes[:-1]).sum())


def scan_held_out(
    files: Sequence[TokenFile], vocabularies: Sequence[int], shared: bool, advance: Advance
) -> SplitCounts:
    """Count a split that is small, such as a validation set, and keep its hashes.

    Args:
        files: source, and target unless it is a text alone.
        vocabularies: V of each side.
        shared: whether both sides have one dictionary.
        advance: told of the sentences read so far, after each piece.
    """
    parts: dict[str, list[Hashes]] = {}

    def keep(hashes: Mapping[str, Hashes]) -> None:
        for kind, values in hashes.items():
            parts.setdefault(kind, []).append(values)

    counts = _nothing_yet(files, vocabularies, shared)
    _scan(files, counts, advance, keep)
    none = np.zeros(0, dtype=np.uint64)
    counts.hashes = {kind: np.concatenate([none, *values]) for kind, values in parts.items()}
    whole = counts.hashes.get(KINDS[-1] if len(files) > 1 else KINDS[0], none)
    counts.repeated = repeated(whole.copy())
    return counts


def scan_train(
    parts: Sequence[Sequence[TokenFile]],
    vocabularies: Sequence[int],
    shared: bool,
    seen: Mapping[str, Seen],
    advance: Advance,
) -> SplitCounts:
    """Count the training set and note which sentences of other splits occur in it.

    Args:
        parts: its parts (``train``, ``train1``, ...), at least one, each as in `scan_held_out`.
        vocabularies: V of each side.
        shared: whether both sides have one dictionary.
        seen: what to look for, by kind.
        advance: told of the sentences read so far, after each piece.
    """
    total = sum(len(files[0]) for files in parts)
    whole = np.empty(total, dtype=np.uint64)
    filled = done = 0

    def note(hashes: Mapping[str, Hashes]) -> None:
        nonlocal filled
        last = list(hashes.values())[-1]
        whole[filled : filled + len(last)] = last
        filled += len(last)
        for kind, values in hashes.items():
            if kind in seen:
                seen[kind].note(values)

    together = _nothing_yet(parts[0], vocabularies, shared)
    for files in parts:
        begun = done
        further = functools.partial(_advance_from, advance, begun)
        _scan(files, together, further, note)
        done += len(files[0])
    together.repeated = repeated(whole[:filled])
    return together


def _nothing_yet(
    files: Sequence[TokenFile], vocabularies: Sequence[int], shared: bool
) -> SplitCounts:
    """Return the counts of a split before any of its sentences."""
    sides = dict(zip(KINDS, map(_empty_side, vocabularies), strict=False))
    return SplitCounts(sides, copied=0 if len(files) > 1 and shared else None)


def _scan(
    files: Sequence[TokenFile],
    counts: SplitCounts,
    advance: Advance,
    take: Callable[[Mapping[str, Hashes]], None],
) -> None:
    """Go through a part of a split; hand on the hashes of each piece by kind, those of pairs last.

    Empty lines of a text alone are not compared: they set off its paragraphs.
    """
    read = 0
    for piece in pieces(list(files)):
        hashes = {}
        for kind, (tokens, lengths) in zip(KINDS, piece, strict=False):
            counts.sides[kind].add(tokens, lengths)
            hashes[kind] = sentence_hashes(tokens, lengths)
        if len(files) > 1:
            if counts.copied is not None:
                counts.copied += int((hashes["source"] == hashes["target"]).sum())
            hashes["pair"] = pair_hashes(hashes["source"], hashes["target"])
        else:
            hashes["source"] = hashes["source"][piece[0][1] > 1]
        take(hashes)
        read += len(piece[0][1])
        advance(read)


def _advance_from(advance: Advance, begun: int, read: int) -> None:
    advance(begun + read)


def _empty_side(vocabulary: int) -> SideCounts:
    return SideCounts(frequency=np.zeros(vocabulary, dtype=np.int64))
