"""The two files of a memory-mapped data set of fairseq, read as plain arrays.

An index (``PREFIX.idx``) holds, little-endian: 9 bytes of magic, version (uint64), code of the
token type (uint8), number of sentences n (uint64), n lengths in tokens (int32), n offsets in bytes
into ``PREFIX.bin`` (int64). The tokens of all sentences follow each other in ``PREFIX.bin``.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("<9sQBQ")
MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
TOKEN_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2", 9: "<u4", 10: "<u8"}
"""Code of a token type -> that of NumPy. fairseq's codes 6 and 7 are of fractions."""

_LENGTHS_AT_ONCE = 1 << 20
AGAIN = "run fairseq-preprocess again"


def read_header(index: Path) -> tuple[int, np.dtype]:
    """Read the header of an index.

    Args:
        index: the ``.idx`` file.

    Returns:
        The number of sentences and the type of a token.

    Raises:
        ValueError: if it is cut off, or not the header of an index.
    """
    with index.open("rb") as file:
        header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        raise ValueError(
            f"{index} is cut off: it has {len(header)} bytes, its header alone needs "
            f"{HEADER.size}; {AGAIN}"
        )
    magic, version, code, count = HEADER.unpack(header)
    if magic != MAGIC:
        raise ValueError(f"{index} is not a fairseq index: it starts with {magic!r}; {AGAIN}")
    if version != VERSION or code not in TOKEN_TYPES:
        raise ValueError(
            f"{index} has version {version} and token type {code}, known are version {VERSION} "
            f"and whole numbers, types {', '.join(map(str, TOKEN_TYPES))}; {AGAIN}"
        )
    return count, np.dtype(TOKEN_TYPES[code])


class TokenFile:
    """Read a data set piece by piece, in the memory of one piece.

    Args:
        prefix: path of the data set without ``.idx`` and ``.bin``. That both are whole was checked
            by ``integrity.verify_mmap_dataset``.

    Attributes:
        prefix: the path.
        dtype: of a token.

    Raises:
        ValueError: if the index has no header.
    """

    def __init__(self, prefix: str | os.PathLike[str]):
        self.prefix = os.fspath(prefix)
        self._count, self.dtype = read_header(Path(f"{self.prefix}.idx"))

    def __len__(self) -> int:
        return self._count

    def lengths(self, first: int, stop: int) -> NDArray[np.int32]:
        """Return the lengths in tokens of the sentences from ``first`` to before ``stop``."""
        return self._index("<i4", HEADER.size, first, stop)

    def offsets(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return where these sentences begin in ``PREFIX.bin``, in bytes."""
        return self._index("<i8", HEADER.size + 4 * self._count, first, stop)

    def _index(self, dtype: str, start: int, first: int, stop: int) -> NDArray:
        width = np.dtype(dtype).itemsize
        stop = min(stop, self._count)
        with open(f"{self.prefix}.idx", "rb") as file:
            file.seek(start + width * first)
            return np.fromfile(file, dtype, max(0, stop - first))

    def tokens(self, first: int, count: int) -> NDArray:
        """Return ``count`` tokens of the text, of all sentences one after the other."""
        with open(f"{self.prefix}.bin", "rb") as file:
            file.seek(self.dtype.itemsize * first)
            return np.fromfile(file, self.dtype, count)


def pieces(
    files: list[TokenFile], max_tokens: int = 1 << 21
) -> Iterator[list[tuple[NDArray, NDArray]]]:
    """Go through the sentences of parallel data sets, some at a time.

    Args:
        files: data sets of equally many sentences.
        max_tokens: bound on the tokens of a piece, all data sets together; a sentence that is
            longer comes alone.

    Yields:
        For each data set the tokens (N,) and the lengths (S,) of the next S sentences, S >= 1.
    """
    read = [0] * len(files)
    for first in range(0, len(files[0]), _LENGTHS_AT_ONCE):
        lengths = [file.lengths(first, first + _LENGTHS_AT_ONCE) for file in files]
        for start, stop in borders(np.stack(lengths).sum(0, np.int64), max_tokens):
            piece = []
            for side, file in enumerate(files):
                part = lengths[side][start:stop]
                count = int(part.sum(dtype=np.int64))
                piece.append((file.tokens(read[side], count), part))
                read[side] += count
            yield piece


def borders(lengths: NDArray, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Cut sentences into consecutive pieces of at most so many tokens, or of one sentence.

    Args:
        lengths: (S,).
        max_tokens: the bound.

    Yields:
        First sentence of a piece, and of the next one.

    >>> list(borders(np.array([3, 4, 9, 1, 1]), 7))
    [(0, 2), (2, 3), (3, 5)]
    """
    ends = np.cumsum(lengths)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + max_tokens, side="right")))
        yield start, stop
        start = stop
