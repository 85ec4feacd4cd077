"""Read gettext catalogues: the text form (``.po``) and the compiled form (``.mo``).

Both readers give the translated entries in file order and leave out what is not a finished
translation: the header, empty translations, fuzzy entries, obsolete entries. Of an entry with
plural forms they give the last form only (``msgid_plural`` and the highest ``msgstr[n]``), since
the singular says the same again. Formats: GNU gettext manual, "PO Files" and "MO Files".
"""

import re
import struct
from collections.abc import Iterator

Pair = tuple[str, str]

_KEYWORD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[(\d+)\])?)\s+(".*)$')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*$')
_ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_MAGIC = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}


def read_po(text: str) -> list[Pair]:
    r"""Return the finished translations of a ``.po`` file.

    Args:
        text: the whole file.

    Returns:
        (source, translation) pairs in file order.

    Raises:
        ValueError: a line is not of the format; the message has its number.

    >>> read_po('msgid "One file"\nmsgstr "Eine Datei"\n#, fuzzy\nmsgid "Two"\nmsgstr "Drei"\n')
    [('One file', 'Eine Datei')]
    """
    return [pair for entry in _po_entries(text) if (pair := _finished(entry))]


def _po_entries(text: str) -> Iterator[dict[str, str]]:
    """Yield each entry as its strings by keyword; the key ``fuzzy`` marks a fuzzy one."""
    entry: dict[str, str] = {}
    keyword = ""
    for number, raw in enumerate(text.lstrip("\ufeff").split("\n"), 1):
        line = raw.strip()
        starts = _KEYWORD.match(line)
        begins = line.startswith("#") or (starts and starts[1] in ("msgctxt", "msgid"))
        # A comment or a new msgid closes an entry only after its translation has begun.
        if begins and keyword.startswith("msgstr"):
            yield entry
            entry, keyword = {}, ""
        if line.startswith("#,") and "fuzzy" in re.split(r"[,\s]+", line[2:]):
            entry["fuzzy"] = ""
        if not line or line.startswith("#"):
            continue
        quoted = _QUOTED.match(starts[3] if starts else line)
        if quoted is None or not (starts or keyword):
            raise ValueError(f"line {number} is not of the .po format: {line[:60]}")
        keyword = starts[1] if starts else keyword
        entry[keyword] = entry.get(keyword, "") + _ESCAPE.sub(_unescape, quoted[1])
    if keyword:
        yield entry


def _unescape(match: re.Match) -> str:
    """Return the character of one C escape; an unknown one stands for itself."""
    code = match[1]
    if code[0] in "01234567":
        return chr(int(code, 8))
    if code[0] == "x" and len(code) == 3:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, code)


def _finished(entry: dict[str, str]) -> Pair | None:
    """Return source and translation, or None for the header and for unfinished entries."""
    if "fuzzy" in entry or not entry.get("msgid"):
        return None
    if "msgid_plural" not in entry:
        pair = (entry["msgid"], entry.get("msgstr", ""))
    else:
        forms = [key for key in entry if key.startswith("msgstr[")]
        last = max(forms, key=lambda key: int(key[7:-1]), default="")
        pair = (entry["msgid_plural"], entry.get(last, ""))
    return pair if pair[1] else None


def read_mo(data: bytes) -> list[Pair]:
    """Return the translations of a ``.mo`` file, which holds no fuzzy ones, sorted by source.

    Args:
        data: the whole file; its strings are taken as UTF-8.

    Returns:
        (source, translation) pairs in file order.

    Raises:
        ValueError: the data is not a whole ``.mo`` file.
    """
    order = _MAGIC.get(data[:4])
    if order is None:
        raise ValueError("this is not a .mo file: it does not begin with the magic number")
    try:
        _, count, sources, targets = struct.unpack_from(f"{order}4I", data, 4)
        pairs = []
        for index in range(count):
            source = _mo_string(data, order, sources + 8 * index)
            target = _mo_string(data, order, targets + 8 * index)
            source = source.rpartition("\x04")[2]  # the context comes before this mark
            pairs.append((source.rpartition("\0")[2], target.rpartition("\0")[2]))
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"the .mo file is damaged: {error}") from None
    return [(source, target) for source, target in pairs if source and target]


def _mo_string(data: bytes, order: str, at: int) -> str:
    """Return the string whose length and place stand at byte ``at``."""
    length, start = struct.unpack_from(f"{order}2I", data, at)
    if start + length > len(data):
        raise struct.error("a string lies beyond its end")
    return data[start : start + length].decode("utf-8")
