"""Check that data written by ``fairseq-preprocess`` are whole, before training starts.

fairseq maps its data into memory and trusts them: a file cut off by a full disk or an
interrupted copy is noticed only when a batch touches the missing part, in an error that does
not name the file, and a token that the dictionary lacks ends in an index error of the embedding.
These checks read headers, sizes and the index, 12 bytes a sentence, and where the size of the
dictionary is given the tokens too, once.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .token_file import AGAIN, HEADER, TokenFile, read_header

_OTHER_FORMATS = (b"TNTIDX\x00\x00", b"HUFFIDX\x00")  # lazy and cached; Huffman-coded
_ENTRIES_AT_ONCE = 1 << 20
_TOKENS_AT_ONCE = 1 << 23


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


def verify_mmap_dataset(
    prefix: str | os.PathLike[str],
    vocabulary_size: int | None = None,
    *,
    shortest: int = 1,
) -> int:
    """Check ``PREFIX.idx`` and ``PREFIX.bin``: header, sizes, index, and the tokens on request.

    Args:
        prefix: path of the data set without ``.idx`` and ``.bin``.
        vocabulary_size: entries of the dictionary with special symbols; tokens must be below it.
            None does not read the tokens.
        shortest: tokens of a sentence at least, end of sentence included.

    Returns:
        The number of sentences, 0 or more.

    Raises:
        ValueError: if a file is missing, is no index, is not as long as the index says, or if the
            index or a token is out of bounds.
    """
    index, data = (Path(f"{os.fspath(prefix)}.{suffix}") for suffix in ("idx", "bin"))
    for path in (index, data):
        if not path.is_file():
            raise ValueError(f"{path} does not exist; {AGAIN}")
    count, dtype = read_header(index)
    _require_size(index, HEADER.size + 12 * count, f"for {count} sentences")
    file = TokenFile(prefix)
    last = max(0, count - 1)
    ends = file.offsets(last, count) + file.lengths(last, count) * np.int64(dtype.itemsize)
    _require_size(data, int(ends.sum()), f"according to {index.name}")
    _verify_index(file, index, shortest)
    if vocabulary_size is not None:
        _verify_tokens(file, data, vocabulary_size)
    return count


def verify_split(
    data_dir: str | os.PathLike[str],
    split: str,
    source_lang: str,
    target_lang: str,
    *,
    combine: bool = False,
    require_target: bool = True,
    vocabularies: Mapping[str, int] | None = None,
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
        vocabularies: language -> entries of its dictionary with special symbols, to check the
            tokens; None does not read them.

    Returns:
        The number of sentence pairs over all parts; None if a part is not memory-mapped, in
        which case only the presence of its source side was checked.

    Raises:
        ValueError: in one sentence, if anything of this does not hold.
    """
    total: int | None = 0
    part = 0
    while prefix := _find_part(data_dir, f"{split}{part or ''}", source_lang, target_lang):
        count = _verify_pair(prefix, source_lang, target_lang, require_target, vocabularies or {})
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


def verify_monolingual_split(
    data_dir: str | os.PathLike[str], split: str, vocabulary_size: int | None = None
) -> int | None:
    """Check a split of a text without translation: it is there, whole and not empty.

    Args:
        data_dir: folder written by ``fairseq-preprocess --only-source``.
        split: name of the split, e.g. ``train``.
        vocabulary_size: entries of the dictionary with special symbols, to check the tokens; None
            does not read them.

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
    count = verify_mmap_dataset(prefix, vocabulary_size, shortest=0)
    if count == 0:
        raise ValueError(f"{prefix}.idx holds no sentence; {AGAIN} on text that is not empty")
    return count


def _verify_index(file: TokenFile, index: Path, shortest: int) -> None:
    """Require that every sentence has a length and begins where the one before ends."""
    expected = 0
    for first in range(0, len(file), _ENTRIES_AT_ONCE):
        stop = first + _ENTRIES_AT_ONCE
        lengths, offsets = file.lengths(first, stop).astype(np.int64), file.offsets(first, stop)
        ends = expected + np.cumsum(lengths) * file.dtype.itemsize
        begins = np.concatenate(([expected], ends[:-1]))
        wrong = np.flatnonzero((lengths < shortest) | (offsets != begins))
        if len(wrong):
            place = int(wrong[0])
            raise ValueError(
                f"{index} is damaged: sentence {first + place + 1} of {len(file)} has "
                f"{lengths[place]} tokens from byte {offsets[place]}, and should have at least "
                f"{shortest} from byte {begins[place]}; {AGAIN}"
                + (", with --workers 1" if offsets[place] < 0 else "")
            )
        expected = int(ends[-1])


def _verify_tokens(file: TokenFile, data: Path, vocabulary_size: int) -> None:
    """Require that every token is an entry of the dictionary."""
    total = data.stat().st_size // file.dtype.itemsize
    for first in range(0, total, _TOKENS_AT_ONCE):
        tokens = file.tokens(first, min(_TOKENS_AT_ONCE, total - first))
        # Comparisons of whole pieces would take twice as long as the two extremes.
        if int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary_size:
            place = int(np.flatnonzero((tokens < 0) | (tokens >= vocabulary_size))[0])
            raise ValueError(
                f"{data} holds token {tokens[place]} at place {first + place}, and its dictionary "
                f"has {vocabulary_size} entries with the special symbols, so it is damaged or "
                f"belongs to another dictionary; {AGAIN}, or put back the dictionary that was used"
            )


def _require_size(file: Path, expected: int, reason: str) -> None:
    actual = file.stat().st_size
    if actual != expected:
        problem = "is cut off" if actual < expected else "does not match its index"
        raise ValueError(
            f"{file} {problem}: it has {actual} bytes and needs {expected} {reason}; {AGAIN}"
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
    prefix: str,
    source_lang: str,
    target_lang: str,
    require_target: bool,
    vocabularies: Mapping[str, int],
) -> int | None:
    """Return the number of pairs, or None if a side is not memory-mapped."""
    source, target = f"{prefix}.{source_lang}", f"{prefix}.{target_lang}"
    if not (is_mmap_dataset(source) and is_mmap_dataset(target)):
        return None
    count = verify_mmap_dataset(source, vocabularies.get(source_lang))
    if count == 0:
        raise ValueError(f"{source}.idx holds no sentences; {AGAIN} on text that is not empty")
    if not require_target and not any(os.path.exists(target + end) for end in (".idx", ".bin")):
        return count
    target_count = verify_mmap_dataset(target, vocabularies.get(target_lang))
    if count != target_count:
        raise ValueError(
            f"{source} has {count} sentences but {target} has {target_count}; {AGAIN} on "
            "parallel text"
        )
    return count
