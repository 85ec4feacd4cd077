"""Files that appear under their name whole or not at all, also where the writer is killed.

A file is written under another name in the same folder, forced to the disk, and renamed, which a
file system does in one step: whoever opens the name gets the old file or the new one. While it is
written, its temporary file is locked; the lock ends with the process, however that ends, so that a
file left behind by a dead process can be told from one that is being written.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_SUFFIX = ".tmp"
_TOKEN_DIGITS = 8
# What says that a file system cannot copy by itself.
_NO_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], None]) -> None:
    """Write a file in one step: old content, if any, then new content, and nothing between.

    Args:
        path: file to create or to replace; its folder exists.
        write: is called with the file, opened for writing bytes.

    Raises:
        OSError: if it cannot be written, with ``path`` as its ``filename``; then ``path`` is as
            before, and no temporary file is left.
        Exception: what ``write`` raises; the same holds.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_whole(folder / "a.pt", lambda file: file.write(b"new"))
        >>> [(path.name, path.read_bytes()) for path in folder.iterdir()]
        [('a.pt', b'new')]
    """
    with _replacing(Path(path)) as file:
        write(file)


def copy_whole(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Copy a file in one step.

    The copy does not share its bytes with the source by a hard link: whoever then overwrote one of
    them in place (``cp other.pt checkpoint_last.pt``) would change the other. File systems that can
    share them until one is changed do so.

    Args:
        source: a file.
        path: file to create or to replace.

    Raises:
        OSError: as of `write_whole`.
    """
    with open(source, "rb") as original, _replacing(Path(path)) as file:
        try:
            left = os.fstat(original.fileno()).st_size
            while left > 0 and (
                count := os.copy_file_range(original.fileno(), file.fileno(), left)
            ):
                left -= count
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
            shutil.copyfileobj(original, file, 1 << 20)


def remove_stale(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove the temporary files of `write_whole` whose writers are dead.

    Args:
        folder: where files are written; may be missing.

    Returns:
        What was removed.
    """
    removed = []
    digits = "[0-9a-f]" * _TOKEN_DIGITS
    for path in Path(folder).glob(f"*.{digits}{_SUFFIX}"):
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed.append(path)
    return removed


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(_TOKEN_DIGITS // 2)}{_SUFFIX}")
    try:
        # Mode x, not tempfile, whose files can be read by their owner only.
        with open(temporary, "xb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise
    _force_names_to_disk(path.parent)


def _force_names_to_disk(folder: Path) -> None:
    """Let the new name outlast a loss of power, where the file system can promise that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
