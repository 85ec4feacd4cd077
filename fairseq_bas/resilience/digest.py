r"""A SHA-256 of a checkpoint within the checkpoint, as the comment at the end of its zip archive.

Being in the file, it can never belong to another state of it. ``torch.load``, also memory-mapped,
``zipfile`` and fairseq read such files as they read those of ``torch.save``, which differ from them
only in these last bytes::

    what torch.save writes  b"PK\x05\x06" + 16 bytes of the directory  b"\0\0"
    the file                the same, the same                         b"G\0" + b"sha256:" + 64 hex

The digest is that of the file as ``torch.save`` writes it. Files without one, as stock fairseq and
torch write them, have nothing to verify.
"""

import functools
import hashlib
import os
from typing import IO, Any, BinaryIO, cast

import torch

_END = b"PK\x05\x06"  # opens the record that closes a zip archive
_END_SIZE = 22  # bytes of that record, the last two of which count those of the comment
_NO_COMMENT = b"\0\0"
_PREFIX = b"sha256:"
_COMMENT_SIZE = len(_PREFIX) + 64
_TAIL_SIZE = len(_NO_COMMENT) + _COMMENT_SIZE


def save_with_digest(state: Any, file: BinaryIO) -> None:
    """Write ``state`` as ``torch.save`` does, with its digest, which is computed on the way.

    Args:
        state: what ``torch.save`` accepts.
        file: new and empty, opened for writing bytes, seekable.

    Raises:
        OSError: if the file cannot be written.
    """
    writer = _HashingWriter(file)
    try:
        torch.save(state, cast(IO[bytes], writer))
    except RuntimeError:
        # torch hides what the file said behind an error about positions in the archive.
        if writer.error is not None:
            raise writer.error from None
        raise
    file.seek(-len(_NO_COMMENT), os.SEEK_END)
    comment = _PREFIX + writer.sha256.hexdigest().encode("ascii")
    file.write(len(comment).to_bytes(2, "little") + comment)


def stored_digest(path: str | os.PathLike[str]) -> str | None:
    """Return the digest that is stored in a file.

    Args:
        path: any file.

    Returns:
        64 hexadecimal digits, or None where the file has no digest.

    Raises:
        ValueError: if the file is cut off within its digest, or goes on after it.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_SIZE - _END_SIZE))
        tail = file.read()
    end = tail.rfind(_END)
    comment_size = int.from_bytes(tail[end + _END_SIZE - 2 : end + _END_SIZE], "little")
    comment = tail[end + _END_SIZE :]
    if end < 0 or comment_size != _COMMENT_SIZE or not comment.startswith(_PREFIX[: len(comment)]):
        return None
    if len(comment) != comment_size:
        raise ValueError(f"it ends after {len(comment)} of the {comment_size} bytes of its digest")
    return comment.removeprefix(_PREFIX).decode("ascii", "replace")


def matches_digest(path: str | os.PathLike[str]) -> bool | None:
    """Read a file whole and compare it with the digest stored in it.

    An answer is kept, so that asking again about an unchanged file does not read it again.

    Args:
        path: any file.

    Returns:
        Whether the content is the one that was written; None where the file has no digest.

    Raises:
        ValueError: if the file is cut off within its digest.
    """
    stored = stored_digest(path)
    if stored is None:
        return None
    status = os.stat(path)
    return _sha256(os.fspath(path), status.st_ino, status.st_size, status.st_mtime_ns) == stored


@functools.lru_cache(maxsize=16)
def _sha256(path: str, _inode: int, size: int, _changed: int) -> str:
    """Return the digest of a file that ends with one, without it."""
    sha256, buffer = hashlib.sha256(), bytearray(1 << 20)
    left = size - _TAIL_SIZE
    with open(path, "rb", buffering=0) as file:
        while left > 0 and (count := file.readinto(memoryview(buffer)[: min(left, len(buffer))])):
            sha256.update(memoryview(buffer)[:count])
            left -= count
    sha256.update(_NO_COMMENT)
    return sha256.hexdigest()


class _HashingWriter:
    """Hash what is written to a file; keep the error that writing ended with."""

    def __init__(self, file: BinaryIO):
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None
        self._file = file

    def write(self, content: bytes | memoryview) -> int:
        self.sha256.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._file.flush()
