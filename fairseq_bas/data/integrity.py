"""Check that data written by ``fairseq-preprocess`` are whole, before training starts.

fairseq maps its data into memory and trusts them: a file cut off by a full disk or an
interrupted copy is noticed only when a batch touches the missing part, in an error that does
not name the file. These checks read headers, file sizes and the last index entry, so they cost
the same for ten sentences and for a hundred million.

An index (``PREFIX.idx``) of the memory-mapped format holds, little-endian: 9 bytes of magic,
version (uint64), code of the token type (uint8), number of sentences n (uint64), n lengths in
tokens (int32), n offsets in bytes into ``PREFIX.bin`` (int64).
"""

import os
import struct
from pathlib import Path

import numpy as np

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQ")
_VERSION = 1
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 8, 7: 8, 8: 2, 9: 4, 10: 8}
_OTHER_FORMATS = (b"TNTIDX\x00\x00", b"HUFFIDX\x00")  # lazy and cached; Huffman-coded
_SPECIAL_SYMBOLS = ("<s>", "<pad>", "</s>", "<unk>")
_AGAIN = "run fairseq-preprocess again"


def is_mmap_dataset(prefix: str | os.PathLike[str]) -> bool:
    """Tell whether a data set is in fairseq's memory-mapped format, the only one checked here.

    Raw text and the formats ``lazy``, ``cached`` and ``huffman`` are not; anything else,
    a damaged index included, counts as memory-mapped so that `verify_mmap_dataset` names it.

    Args:
        prefix: path of the data set without ``.idx`` and ``.bin``.

    Returns:
        False for a format that fairseq reads in another way.
    """
    if os.path.isfile(prefix):  # raw text has no suffix; fairseq looks for it first
        return False
    try:
        with open(f"{os.fspath(prefix)}.idx", "rb") as file:
            return file.read(8) not in _OTHER_FORMATS
    except FileNotFoundError:
        return True


def verify_mmap_dataset(prefix: str | os.PathLike[str]) -> int:
    """Check the header and the sizes of ``PREFIX.idx`` and ``PREFIX.bin`` against each other.

    Args:
        prefix: path of the data set without ``.idx`` and ``.bin``.

    Returns:
        The number of sentences, 0 or more.

    Raises:
        ValueError: if a file is missing, is no index, or is not as long as the index says.
    """
    index, data = (Path(f"{os.fspath(prefix)}.{suffix}") for suffix in ("idx", "bin"))
    for file in (index, data):
        if not file.is_file():
            raise ValueError(f"{file} does not exist; {_AGAIN}")
    count, item_bytes = _read_header(index)
    _require_size(index, _HEADER.size + 12 * count, f"for {count} sentences")
    _require_size(data, _described_bytes(index, count, item_bytes), f"according to {index.name}")
    return count


def verify_split(
    data_dir: str | os.PathLike[str],
    split: str,
    source_lang: str,
    target_lang: str,
    *,
    combine: bool = False,
    require_target: bool = True,
) -> int | None:
    """Check a split of a translation corpus: both sides are there, whole, parallel, not empty.

    The files are found as fairseq finds them: ``SPLIT.SOURCE-TARGET.LANG``, else
    ``SPLIT.TARGET-SOURCE.LANG``, and with ``combine`` also ``SPLIT1``, ``SPLIT2`` and so on.

    Args:
        data_dir: folder written by ``fairseq-preprocess``.
        split: name of the split, e.g. ``train``.
        source_lang: source language, e.g. ``en``.
        target_lang: target language, e.g. ``de``.
        combine: check the numbered parts of the split too, as fairseq trains on all of them.
        require_target: False accepts a split without a target side, which can be translated.

    Returns:
        The number of sentence pairs over all parts; None if a part is not memory-mapped, in
        which case only the presence of its source side was checked.

    Raises:
        ValueError: in one sentence, if anything of this does not hold.
    """
    total: int | None = 0
    part = 0
    while prefix := _find_part(data_dir, f"{split}{part or ''}", source_lang, target_lang):
        count = _verify_pair(prefix, source_lang, target_lang, require_target)
        total = None if total is None or count is None else total + count
        part += 1
        if not combine:
            break
    if part == 0:
        raise ValueError(
            f"{os.fspath(data_dir)} holds no {split}.{source_lang}-{target_lang}.{source_lang} nor "
            f"{split}.{target_lang}-{source_lang}.{source_lang} (.idx and .bin); run "
            f"fairseq-preprocess with --{split}pref or name another subset"
        )
    return total


def verify_monolingual_split(data_dir: str | os.PathLike[str], split: str) -> int | None:
    """Check a split of a text without translation: it is there, whole and not empty.

    Args:
        data_dir: folder written by ``fairseq-preprocess --only-source``.
        split: name of the split, e.g. ``train``.

    Returns:
        The number of sentences; None if it is not memory-mapped and was not checked.

    Raises:
        ValueError: in one sentence, if anything of this does not hold.
    """
    prefix = Path(data_dir, split)
    if not is_mmap_dataset(prefix):
        return None
    if not Path(f"{prefix}.idx").is_file():
        raise ValueError(
            f"{os.fspath(data_dir)} holds no {split}.idx; pass the --destdir of fairseq-preprocess "
            "--only-source"
        )
    count = verify_mmap_dataset(prefix)
    if count == 0:
        raise ValueError(f"{prefix}.idx holds no sentence; {_AGAIN} on text that is not empty")
    return count


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
        raise ValueError(f"{path} does not exist; {_AGAIN} or name the languages of the data")
    seen = set(_SPECIAL_SYMBOLS)
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                _add_entry(line, f"line {number} of {path}", seen)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text; {_AGAIN}") from error
    if number == 0:
        raise ValueError(f"{path} has no entries; {_AGAIN} on text that is not empty")
    return number


def _read_header(index: Path) -> tuple[int, int]:
    """Return the number of sentences and the bytes of one token."""
    with index.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise ValueError(
            f"{index} is cut off: it has {len(header)} bytes, its header alone needs "
            f"{_HEADER.size}; {_AGAIN}"
        )
    magic, version, code, count = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise ValueError(f"{index} is not a fairseq index: it starts with {magic!r}; {_AGAIN}")
    if version != _VERSION or code not in _ITEM_BYTES:
        raise ValueError(
            f"{index} has version {version} and token type {code}, known are version {_VERSION} "
            f"and types 1 to {max(_ITEM_BYTES)}; {_AGAIN}"
        )
    return count, _ITEM_BYTES[code]


def _described_bytes(index: Path, count: int, item_bytes: int) -> int:
    """Return how many bytes of data the index describes: where its last sentence ends."""
    if count == 0:
        return 0
    lengths = np.memmap(index, "<i4", mode="r", offset=_HEADER.size, shape=(count,))
    offsets = np.memmap(index, "<i8", mode="r", offset=_HEADER.size + 4 * count, shape=(count,))
    return int(offsets[-1]) + int(lengths[-1]) * item_bytes


def _require_size(file: Path, expected: int, reason: str) -> None:
    actual = file.stat().st_size
    if actual != expected:
        problem = "is cut off" if actual < expected else "does not match its index"
        raise ValueError(
            f"{file} {problem}: it has {actual} bytes and needs {expected} {reason}; {_AGAIN}"
        )


def _find_part(
    data_dir: str | os.PathLike[str], name: str, source_lang: str, target_lang: str
) -> str | None:
    """Return the path of a part up to its last dot, or None if it has no source side."""
    for pair in (f"{source_lang}-{target_lang}", f"{target_lang}-{source_lang}"):
        prefix = os.path.join(data_dir, f"{name}.{pair}")
        source = f"{prefix}.{source_lang}"
        if any(os.path.exists(source + suffix) for suffix in ("", ".idx", ".bin")):
            return prefix
    return None


def _verify_pair(
    prefix: str, source_lang: str, target_lang: str, require_target: bool
) -> int | None:
    """Return the number of pairs, or None if a side is not memory-mapped."""
    source, target = f"{prefix}.{source_lang}", f"{prefix}.{target_lang}"
    if not (is_mmap_dataset(source) and is_mmap_dataset(target)):
        return None
    count = verify_mmap_dataset(source)
    if count == 0:
        raise ValueError(f"{source}.idx holds no sentences; {_AGAIN} on text that is not empty")
    if not require_target and not any(os.path.exists(target + end) for end in (".idx", ".bin")):
        return count
    target_count = verify_mmap_dataset(target)
    if count != target_count:
        raise ValueError(
            f"{source} has {count} sentences but {target} has {target_count}; {_AGAIN} on "
            "parallel text"
        )
    return count


def _add_entry(line: str, place: str, seen: set[str]) -> None:
    """Add the token of one dictionary line to ``seen``, as strictly as fairseq reads it."""
    flag = " #fairseq:overwrite"
    entry = line.rstrip()
    token, _, count = entry.removesuffix(flag).rpartition(" ")
    if not (token and count.lstrip("-").isdecimal()):
        raise ValueError(f"{place} is not TOKEN COUNT but {line.rstrip()[:40]!r}; {_AGAIN}")
    if token in seen and not entry.endswith(flag):
        raise ValueError(f"{place} repeats the token {token!r}; remove the line")
    seen.add(token)
