"""Check the dictionary of a corpus before fairseq reads it."""

import os
from pathlib import Path

from .token_file import AGAIN

_SPECIAL_SYMBOLS = ("<s>", "<pad>", "</s>", "<unk>")


def verify_dictionary(data_dir: str | os.PathLike[str], lang: str | None = None) -> int:
    """Check that ``dict.LANG.txt`` is there and that every line is ``TOKEN COUNT``.

    Args:
        data_dir: folder written by ``fairseq-preprocess``.
        lang: language, e.g. ``en``; None or empty for the ``dict.txt`` of a language model.

    Returns:
        The number of entries, 1 or more; fairseq's own four special symbols are not among them.

    Raises:
        ValueError: if the file is missing, empty, not UTF-8, or has a line that fairseq refuses.
    """
    path = Path(data_dir, f"dict.{lang}.txt" if lang else "dict.txt")
    if not path.is_file():
        raise ValueError(f"{path} does not exist; {AGAIN} or name the languages of the data")
    seen = set(_SPECIAL_SYMBOLS)
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                _add_entry(line, f"line {number} of {path}", seen)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text; {AGAIN}") from error
    if number == 0:
        raise ValueError(f"{path} has no entries; {AGAIN} on text that is not empty")
    return number


def _add_entry(line: str, place: str, seen: set[str]) -> None:
    """Add the token of one dictionary line to ``seen``, as strictly as fairseq reads it."""
    flag = " #fairseq:overwrite"
    entry = line.rstrip()
    token, _, count = entry.removesuffix(flag).rpartition(" ")
    if not (token and count.lstrip("-").isdecimal()):
        raise ValueError(f"{place} is not TOKEN COUNT but {line.rstrip()[:40]!r}; {AGAIN}")
    if token in seen and not entry.endswith(flag):
        raise ValueError(f"{place} repeats the token {token!r}; remove the line")
    seen.add(token)
