"""Download large files once: resumed, verified, from the first mirror that has them.

Used by ``get_parallel.py``. A file is ``NAME.part`` until it is whole and has the SHA-256 that
``sources.py`` gives for it. Where none is published, the first file that comes is pinned: its
SHA-256 goes into ``NAME.sha256``, which later calls compare with.

Standard library only.
"""

import hashlib
import http.client
import sys
from collections.abc import Sequence
from pathlib import Path

from corpus_files import CorpusError
from fetch_text import download
from sources import Archive


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_archive(archive: Archive, folder: Path, mirrors: Sequence[str] = ()) -> Path:
    """Return a verified file, downloaded if it is not there.

    Args:
        archive: what to fetch.
        folder: where it goes, made where it is missing; what an interrupted call left is gone on
            with, and a file that was put there by hand is verified like any other.
        mirrors: addresses of folders that are tried before the known mirrors.

    Returns:
        The path.

    Raises:
        CorpusError: no mirror has the file, or what is there is another one.
    """
    path = folder / archive.name
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        reason = verify(archive, path)
        if reason:
            raise CorpusError(f"{path} {reason}; remove it to download it again")
        return path
    part = path.with_name(f"{path.name}.part")
    own = [f"{mirror.rstrip('/')}/{archive.name}" for mirror in mirrors]
    wrong = []
    for url in [*own, *archive.urls]:
        try:
            resumed = part.exists()
            download(url, part)
            reason = verify(archive, part)
            if reason and resumed:  # what was left may have been of another file
                part.unlink()
                download(url, part)
                reason = verify(archive, part)
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", None) or error)
        else:
            if not reason:
                part.replace(path)
                return path
            part.unlink()
        wrong.append(f"{url} ({reason})")
    raise CorpusError(
        f"{archive.name} could not be had from {' nor from '.join(wrong)}; try again later, or put "
        f"it into {folder}"
    )


def verify(archive: Archive, path: Path) -> str:
    """Compare a file with its size and SHA-256, or with the one that was pinned.

    Args:
        archive: what it should be.
        path: the file, or ``NAME.part``.

    Returns:
        What is wrong, after the name of the file in a sentence; empty if nothing is.
    """
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        return f"has {size} bytes instead of {archive.size}"
    digest, pin = sha256_of(path), path.with_name(f"{archive.name}.sha256")
    if archive.sha256 is not None:
        return "" if digest == archive.sha256 else "has other content than its SHA-256 says"
    if pin.exists():
        pinned = pin.read_text(encoding="ascii").split()[0]
        return "" if digest == pinned else f"has other content than {pin} says"
    print(
        f"{archive.name}: no checksum of it is published, so what came is taken on trust; its "
        f"SHA-256 is {digest}, written to {pin}",
        file=sys.stderr,
    )
    pin.write_text(f"{digest}  {archive.name}\n", encoding="ascii")
    return ""
