"""Clean a parallel text and keep what is held out from being trained on.

    python data/clean_pairs.py --raw DIR --out DIR [--max-words 250] [--max-ratio 1.5] ...

DIR has ``train.src`` and ``train.tgt``, and may have valid, test, test1, ... A pair of the training
text survives when neither side is empty, both have at most ``--max-words`` words, the longer has
at most ``--max-ratio`` times the length of the shorter, and it does not come twice. A pair whose
source or target has the letters (:func:`pair_cleaning.key`) of one that is held out is removed.

What is held out is left as it is but for control characters in its source. A split that is missing
is taken from the training text: runs of 20 neighbouring pairs, chosen by a hash of their position,
up to a twentieth of the text and 1,000 pairs; with ``--valid-every N`` every Nth pair is valid.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import corpus_files
import pair_cleaning
from corpus_files import CorpusError
from pair_cleaning import Pair

SIDES = ("src", "tgt")
BLOCK = 20
HELD_OUT, SHARE = 1000, 20


@dataclass(frozen=True)
class Rules:
    """What a pair of the training text must be like.

    Args:
        max_words: words of a side at most, >= 1.
        max_ratio: length of the longer side over that of the shorter at most, >= 1.
        by_letters: measure the ratio in characters instead of words.
        lower: write everything in lower case.
    """

    max_words: int = 250
    max_ratio: float = 1.5
    by_letters: bool = False
    lower: bool = False

    def tidied(self, text: str) -> str:
        """Return a line as it is trained on."""
        text = pair_cleaning.tidy(text)
        return text.lower() if self.lower else text

    def keeps(self, pair: Pair) -> bool:
        """Tell whether a tidied pair is good.

        >>> Rules(max_ratio=2).keeps(("a b", "c")), Rules(max_ratio=1.9).keeps(("a b", "c"))
        (True, False)
        """
        words = [len(text.split()) for text in pair]
        short, long = sorted([len(text) for text in pair] if self.by_letters else words)
        return min(words) > 0 and max(words) <= self.max_words and long <= self.max_ratio * short


def number(text: str) -> int:
    """Return 64 bits that stand for a text; two of ten million differ with probability 1 - 3e-6."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def letters(text: str) -> int:
    """Return a number for the letters of a sentence, or for all of it if it has none."""
    return number(pair_cleaning.key(text) or text)


def read_pairs(folder: Path, split: str) -> Iterator[Pair]:
    """Yield the pairs of a split, without line ends.

    Raises:
        CorpusError: the sides differ in length, or one is not UTF-8.
    """
    paths = [folder / f"{split}.{side}" for side in SIDES]
    with paths[0].open("rb") as source, paths[1].open("rb") as target:
        for count, lines in enumerate(itertools.zip_longest(source, target), start=1):
            if None in lines:
                longer = paths[lines.index(None) ^ 1]
                raise CorpusError(f"{longer} has more lines than the other side, from line {count}")
            try:
                source_line, target_line = (line.decode("utf-8").rstrip("\r\n") for line in lines)
            except UnicodeDecodeError:
                raise CorpusError(
                    f"line {count} of {paths[0]} or {paths[1]} is not UTF-8; convert the text"
                ) from None
            yield source_line, target_line


def good_pairs(raw: Path, rules: Rules) -> Iterator[Pair]:
    """Yield the tidied pairs of the training text that the rules keep, each once."""
    seen: set[int] = set()
    for raw_source, raw_target in read_pairs(raw, "train"):
        pair = rules.tidied(raw_source), rules.tidied(raw_target)
        if rules.keeps(pair) and (key := number("\n".join(pair))) not in seen:
            seen.add(key)
            yield pair


def choose(count: int, missing: Sequence[str], valid_every: int | None) -> Callable[[int], str]:
    """Return what tells the split of each pair of the training text by its number from 0.

    Args:
        count: good pairs of the training text.
        missing: the splits to take from it, of ``valid`` and ``test``.
        valid_every: every so many pairs one is of ``valid``; None for runs of neighbours.

    Returns:
        Number -> ``train``, ``valid``, ``test``, or an empty text for a pair that is left out.

    Raises:
        CorpusError: the text is too short to hold anything out.
    """
    if not missing:
        return lambda index: "train"
    if valid_every:
        return lambda index: "valid" if (index + 1) % valid_every == 0 else "train"
    held_out = min(HELD_OUT, count // SHARE)
    if held_out < 1:
        raise CorpusError(
            f"{count} good pairs are too few to hold any out of them; give valid and test files"
        )
    sizes = {split: held_out if split in missing else 0 for split in ("valid", "test")}
    runs = pair_cleaning.choose_runs({"": count}, block=BLOCK, **sizes)

    def split_of(index: int) -> str:
        start = index - index % BLOCK
        split, taken = runs["", start]
        return split if index - start < taken else ""

    return split_of


class HeldOut:
    """Know the letters of all sentences that must not be trained on."""

    def __init__(self) -> None:
        self._sides: tuple[set[int], set[int]] = (set(), set())

    def add(self, pairs: Iterator[Pair]) -> None:
        """Hold out pairs."""
        for pair in pairs:
            for side, text in zip(self._sides, pair, strict=True):
                side.add(letters(text))

    def without(self, pairs: Iterator[Pair]) -> Iterator[Pair]:
        """Yield the pairs of which neither side is held out."""
        for pair in pairs:
            if not any(letters(t) in side for t, side in zip(pair, self._sides, strict=True)):
                yield pair


def clean(raw: Path, out: Path, rules: Rules, valid_every: int | None = None) -> dict[str, int]:
    """Write the cleaned text.

    Args:
        raw: folder of the text.
        out: folder to make.
        rules: for the training text.
        valid_every: see :func:`choose`.

    Returns:
        Pairs of each split; ``raw`` are those of the training text before.

    Raises:
        CorpusError: the text cannot be used; says why.
    """
    given, missing = given_and_missing(raw)
    if valid_every and missing != ["valid"]:
        raise CorpusError("--valid-every is for a text with a test set and without valid")
    counts = {"raw": sum(1 for _ in read_pairs(raw, "train")), "train": 0}
    by_runs = bool(missing) and not valid_every
    good = sum(1 for _ in good_pairs(raw, rules)) if by_runs else 0
    split_of = choose(good, missing, valid_every)
    out.mkdir(parents=True)
    held = HeldOut()
    for split in given:
        pairs = ((rules.tidied(source), target) for source, target in read_pairs(raw, split))
        counts[split] = write(out, split, pairs)
        held.add(read_pairs(out, split))
    for split in [*reversed(missing), "train"]:  # test first, so that no pair of valid is in it
        pairs = in_split(good_pairs(raw, rules), split_of, split)
        counts[split] = write(out, split, held.without(pairs))
        if split != "train":
            held.add(read_pairs(out, split))
    empty = [split for split, count in counts.items() if count == 0]
    if empty:
        raise CorpusError(f"no pair is left in {', '.join(empty)}; give more text, or allow more")
    return counts


def given_and_missing(raw: Path) -> tuple[list[str], list[str]]:
    """Return the splits to hold out that a text has, and those to take from its training text."""
    tests = ["test", *sorted(path.stem for path in raw.glob("test[1-9].src"))]
    given = [split for split in ["valid", *tests] if (raw / f"{split}.src").exists()]
    return given, [split for split in ("valid", "test") if split not in given]


def in_split(pairs: Iterator[Pair], split_of: Callable[[int], str], split: str) -> Iterator[Pair]:
    """Yield the pairs of one split."""
    return (pair for index, pair in enumerate(pairs) if split_of(index) == split)


def write(out: Path, split: str, pairs: Iterator[Pair]) -> int:
    """Write pairs, and return how many."""
    count = 0
    with ExitStack() as stack:
        files = [
            stack.enter_context((out / f"{split}.{side}").open("w", encoding="utf-8", newline="\n"))
            for side in SIDES
        ]
        for pair in pairs:
            count += 1
            for file, text in zip(files, pair, strict=True):
                file.write(f"{text}\n")
    return count


def main(arguments: Sequence[str] | None) -> str:
    """Clean a text and return what was kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw", type=Path, required=True, help="folder of the text")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--max-words", type=int, default=Rules.max_words, help="[%(default)s]")
    parser.add_argument("--max-ratio", type=float, default=Rules.max_ratio, help="[%(default)s]")
    parser.add_argument("--by-letters", action="store_true", help="measure the ratio in letters")
    parser.add_argument("--lower", action="store_true", help="write lower case")
    parser.add_argument("--valid-every", type=int, help="every so many pairs one is of valid")
    args = parser.parse_args(arguments)
    rules = Rules(args.max_words, args.max_ratio, args.by_letters, args.lower)
    try:
        counts = clean(args.raw, args.out, rules, args.valid_every)
    except OSError as error:
        raise CorpusError(f"{error.filename}: {error.strerror}; check --raw and --out") from error
    said = f"of {counts.pop('raw')} pairs "
    return said + ", ".join(f"{count} in {split}" for split, count in counts.items())


if __name__ == "__main__":
    corpus_files.command(main)
