"""Which data sets, languages and dictionaries a folder of ``fairseq-preprocess`` holds."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

_PAIR = re.compile(r"([^.]+)\.([^.-]+)-([^.]+)\.([^.]+)\.(?:idx|bin)")
_TEXT = re.compile(r"([^.]+)\.(?:idx|bin)")
_PART = re.compile(r"(train)\d*")


@dataclass
class Corpus:
    """Hold what belongs together: the splits of a language pair, or of a text alone.

    Attributes:
        directory: the folder.
        languages: source and target; empty for a text.
        splits: name -> its parts, ``train`` with ``train1`` and so on, in order.
    """

    directory: Path
    languages: tuple[str, ...]
    splits: dict[str, list[str]] = field(default_factory=dict)

    @property
    def dictionaries(self) -> list[Path]:
        """Return the path of each side's dictionary."""
        names = [f"dict.{language}.txt" for language in self.languages] or ["dict.txt"]
        return [self.directory / name for name in names]

    @property
    def name(self) -> str:
        """Return the languages, or that there is none."""
        return "-".join(self.languages) or "text"

    def prefixes(self, part: str) -> list[Path]:
        """Return the path of each side of a part, without ``.idx``; those that exist."""
        if not self.languages:
            return [self.directory / part]
        source, target = self.languages
        for pair in (f"{source}-{target}", f"{target}-{source}"):
            sides = [self.directory / f"{part}.{pair}.{language}" for language in self.languages]
            if Path(f"{sides[0]}.idx").is_file():
                return [side for side in sides if Path(f"{side}.idx").is_file()]
        return []


def find_corpora(directory: str | os.PathLike[str]) -> list[Corpus]:
    """Find the memory-mapped data sets of a folder.

    Args:
        directory: the folder.

    Returns:
        One corpus for each language pair and one for a text alone, by name; splits with ``train``
        first.

    Raises:
        ValueError: if it is no folder or holds no such data set.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ValueError(
            f"{directory} is not a directory; pass the --destdir of fairseq-preprocess"
        )
    found: dict[tuple[str, ...], set[str]] = {}
    for name in sorted(os.listdir(directory)):
        if match := _PAIR.fullmatch(name):
            found.setdefault((match[2], match[3]), set()).add(match[1])
        elif match := _TEXT.fullmatch(name):
            found.setdefault((), set()).add(match[1])
    if not found:
        raise ValueError(
            f"{directory} holds no data set (SPLIT.SOURCE-TARGET.LANG.idx or SPLIT.idx); pass the "
            "--destdir of fairseq-preprocess"
        )
    return [Corpus(directory, pair, _grouped(parts)) for pair, parts in sorted(found.items())]


def _grouped(parts: set[str]) -> dict[str, list[str]]:
    """Put the parts of the training set together.

    >>> _grouped({"valid", "train10", "train", "train2", "valid1"})
    {'train': ['train', 'train2', 'train10'], 'valid': ['valid'], 'valid1': ['valid1']}
    """
    splits: dict[str, list[str]] = {}
    for part in sorted(parts, key=lambda name: (not name.startswith("train"), len(name), name)):
        match = _PART.fullmatch(part)
        splits.setdefault(match[1] if match else part, []).append(part)
    return splits
