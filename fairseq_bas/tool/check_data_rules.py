"""What the content of a corpus tells that its training may be sorry for."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.corpus_scan import SplitCounts
from .check_findings import Finding, note, problem, warning

LONG = 1024
"""Longest sentence of fairseq's Transformers unless told otherwise."""
_MANY = 0.05
_UNKNOWN = 0.01
_HALF = 0.5
_COMMON_ENTRIES = 100
_SPECIAL_SYMBOLS = 4


def corpus_findings(counts: Mapping[str, SplitCounts], is_text: bool) -> Iterator[Finding]:
    """Judge the splits of a corpus.

    Args:
        counts: of each split by name.
        is_text: whether it is a text alone, in which empty and repeated lines are usual.
    """
    for name, split in counts.items():
        yield from _long_sentences(name, split)
        if not is_text:
            yield from _empty_sentences(name, split)
            yield from _unknown_words(name, split)
            yield from _copies(name, split)
        yield from _seen_in_training(name, split, is_text)


def _empty_sentences(name: str, split: SplitCounts) -> Iterator[Finding]:
    for side, counts in split.sides.items():
        if counts.empty:
            yield warning(
                f"{counts.empty:,} of {counts.sentences:,} {side} sentences of {name} are empty; "
                "remove such pairs before fairseq-preprocess"
            )


def _unknown_words(name: str, split: SplitCounts) -> Iterator[Finding]:
    for side, counts in split.sides.items():
        share = counts.unknown / max(1, counts.tokens)
        if share > _UNKNOWN:
            yield warning(
                f"{share:.1%} of the {side} tokens of {name} are not in the dictionary (<unk>); "
                "segment all splits with one subword model, and do not cut its dictionary"
            )


def _long_sentences(name: str, split: SplitCounts) -> Iterator[Finding]:
    for side, counts in split.sides.items():
        many = counts.longer_than(LONG)
        if many:
            yield note(
                f"{many:,} {side} sentences of {name} have more than {LONG:,} tokens, the longest "
                f"{counts.longest:,}, and fairseq's Transformers read {LONG:,} unless told "
                "otherwise; give the flags of the run to see what becomes of them"
            )


def _copies(name: str, split: SplitCounts) -> Iterator[Finding]:
    pairs = split.sides["source"].sentences
    if split.repeated > _MANY * pairs:
        yield warning(
            f"{split.repeated:,} of {pairs:,} pairs of {name} were there before "
            f"({split.repeated / pairs:.0%}); remove them unless they are meant to count twice"
        )
    if split.copied and split.copied > _MANY * pairs:
        yield warning(
            f"{split.copied:,} of {pairs:,} pairs of {name} have equal sides "
            f"({split.copied / pairs:.0%}), and a model learns to copy from them; remove them"
        )


def _seen_in_training(name: str, split: SplitCounts, is_text: bool) -> Iterator[Finding]:
    if is_text:
        kinds = {"source": ("lines", _MANY)}
    else:
        kinds = {"pair": ("pairs", 0.0), "source": ("source sentences", _MANY)}
    for kind, (unit, allowed) in kinds.items():
        seen = split.seen.get(kind, 0)
        total = len(split.hashes.get(kind, ()))
        if seen > allowed * total:
            yield warning(
                f"{seen:,} of {total:,} {unit} of {name} are in the training set too "
                f"({seen / total:.1%}), so scores on it also measure memory; remove them from the "
                "training text"
            )
            return


def overlap_of(name: str, split: SplitCounts, other: str, counts: SplitCounts) -> list[Finding]:
    """Judge what two splits beside the training set have in common.

    Args:
        name: of the first.
        split: the first.
        other: name of the second.
        counts: the second.

    Returns:
        A warning if pairs are in both, or more than a few lines of a text.
    """
    kind = "pair" if "pair" in split.hashes and "pair" in counts.hashes else "source"
    first, second = split.hashes[kind], counts.hashes[kind]
    common = int(np.isin(second, first).sum())
    if common <= (0.0 if kind == "pair" else _MANY) * len(second):
        return []
    unit = "pairs" if kind == "pair" else "sentences"
    return [
        warning(
            f"{common:,} of {len(second):,} {unit} of {other} are in {name} too "
            f"({common / len(second):.1%}), so choosing by one favours the other; remove them from "
            f"{name}"
        )
    ]


def dictionary_findings(paths: Sequence[Path], train: SplitCounts) -> list[Finding]:
    """Compare the counts in the dictionaries with how often their entries occur in training.

    ``fairseq-preprocess`` writes the counts of the training text, so equal counts prove that text
    and dictionary belong together; other counts prove nothing, as a dictionary may be given.

    Args:
        paths: of each side's dictionary.
        train: the training set.

    Returns:
        A problem if two dictionaries are each other's; a note if the counts are not of this text.
    """
    stated = [_stated_counts(path) for path in paths]
    actual = [side.frequency[_SPECIAL_SYMBOLS:] for side in train.sides.values()]
    if len(paths) == 2 and paths[0].read_bytes() == paths[1].read_bytes():
        actual = [actual[0] + actual[1]] * 2
    agreement = [agree(*pair) for pair in zip(stated, actual, strict=True)]
    swapped = [agree(*pair) for pair in zip(stated, reversed(actual), strict=True)]
    if max(agreement) < _HALF < min(swapped) and len(paths) == 2:
        return [
            problem(
                f"{paths[0]} and {paths[1]} are each other's: the counts in each are those of the "
                "other language; exchange them"
            )
        ]
    return [
        note(
            f"the counts in {path.name} are not those of this training set, so it may or may not "
            "be the dictionary that the text was binarised with; that is usual for one given by "
            "--srcdict or --tgtdict"
        )
        for path, share in dict(zip(paths, agreement, strict=True)).items()
        if share < _HALF
    ]


def agree(stated: NDArray, actual: NDArray) -> float:
    """Return for which share of the most common entries two counts are the same.

    >>> agree(np.array([5, 3, 1]), np.array([5, 3, 2])) > 0.6
    True
    """
    size = min(len(stated), len(actual))
    common = np.argsort(-stated[:size], kind="stable")[:_COMMON_ENTRIES]
    return float((stated[common] == actual[common]).mean()) if size else 0.0


def _stated_counts(path: Path) -> NDArray:
    with path.open(encoding="utf-8") as file:
        flags = (line.rstrip().removesuffix(" #fairseq:overwrite") for line in file)
        return np.array([int(line.rpartition(" ")[2]) for line in flags], dtype=np.float64)
