"""Inspect a checkpoint file without loading it: is it whole, is it what was written, has it code?

A checkpoint is a pickle, and loading a pickle calls whatever functions it names. torch's safe
loader calls only those on its allow-list, but an environment variable or a fairseq that passes
``weights_only=False`` turns it off. The checks here read the names, never call anything, and so
hold either way.

Two formats are known: the zip archive that ``torch.save`` has written since torch 1.6, and the
plain pickles before that, in which published models still come. Of the latter, a file cut off
within its tensors is not noticed here but by torch. The tar archives of torch 0.1 are refused.
"""

import os
import pickletools
import re
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import _weights_only_unpickler

from .resilience.digest import matches_digest

_ZIP_START = b"PK\x03\x04"
# torch/serialization.py writes these two pickles first: MAGIC_NUMBER and PROTOCOL_VERSION.
_LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03."
_PART = re.compile(r"-(shard|rank-|model_part-)\d+")  # in the name of a checkpoint in several files
_LEGACY_PICKLES = 5  # magic number, protocol, machine, the object, keys of its storages


def verify_checkpoint(path: str | os.PathLike[str]) -> None:
    """Refuse a checkpoint that cannot be read, is not whole, or names functions of its own.

    Allowed are the names on torch's own list and those that were added to it by
    ``torch.serialization.add_safe_globals``. A file that holds its digest is read whole, once in a
    process; for others the cost does not depend on the size of the tensors.

    Args:
        path: a local file.

    Raises:
        ValueError: in one sentence that says what to do; for a damaged file it names the newest
            complete checkpoint beside it.
    """
    problem = damage(path)
    if problem:
        raise ValueError(f"{os.fspath(path)} {problem}; {_way_out(path)}")
    names = unsafe_globals(path)
    if names:
        raise ValueError(
            f"{os.fspath(path)} was refused because it holds code or foreign types, which run "
            f"when it is loaded: {', '.join(names)}; use a checkpoint whose origin you trust, and "
            "if these types are your own, allow them by torch.serialization.add_safe_globals"
        )


def unsafe_globals(path: str | os.PathLike[str]) -> list[str]:
    """List the functions and classes a checkpoint names that are not on torch's allow-list.

    Args:
        path: a checkpoint file.

    Returns:
        Sorted names such as ``posix.system``; empty for a checkpoint that is safe to load.

    Raises:
        ValueError: if the file is no complete checkpoint; the message says what is missing.
    """
    with open(path, "rb") as file:
        is_legacy = file.read(len(_LEGACY_START)) == _LEGACY_START
        file.seek(0)
        try:
            if is_legacy:
                return sorted(_legacy_unsafe_globals(file))
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
        except (RuntimeError, OSError) as error:
            raise ValueError("the directory at the end of its archive is missing") from error
        except Exception as error:  # a damaged pickle may make its reader raise anything
            reason = str(error) or "unexpected end"
            raise ValueError(f"its content is not that of torch.save: {reason}") from error


def newest_good_sibling(path: str | os.PathLike[str]) -> Path | None:
    """Find the newest ``checkpoint*.pt`` beside a file, other than it, that is good to load.

    Shards of one checkpoint (``-shard0.pt``, ``-rank-0.pt``) are passed over.

    Args:
        path: the checkpoint to replace.

    Returns:
        The sibling modified last that `verify_checkpoint` would accept, or None.
    """
    path = Path(path)
    siblings = [
        sibling
        for sibling in path.parent.glob("checkpoint*.pt")
        if sibling.name != path.name and not _PART.search(sibling.name)
    ]
    for sibling in sorted(siblings, key=lambda file: file.stat().st_mtime, reverse=True):
        if not damage(sibling) and not unsafe_globals(sibling):
            return sibling
    return None


def damage(path: str | os.PathLike[str]) -> str | None:
    """Say what keeps a file from being read as the checkpoint that was written.

    Args:
        path: a local file.

    Returns:
        What goes after the name of the file in a sentence; None for a file in order, which may
        still be unsafe to load.
    """
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            start = file.read(len(_LEGACY_START))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if size == 0:
        return "is empty, so its writing was cut off"
    # torch tries tar before the old format, and a tar archive may begin with any bytes.
    is_legacy = start == _LEGACY_START and not tarfile.is_tarfile(path)
    if not (is_legacy or start.startswith(_ZIP_START)):
        return f"is not a checkpoint written by torch.save: it starts with {start[:8]!r}"
    try:
        unsafe_globals(path)
        if not is_legacy:
            _require_stored_plain(path)
        is_as_written = matches_digest(path)
    except ValueError as error:
        return f"is incomplete or damaged: it has {size} bytes and {error}"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if is_as_written is False:
        return "is damaged: its content is not that of which it holds the SHA-256"
    return None


def updates_of(path: str | os.PathLike[str]) -> int | None:
    """Read after how many updates a checkpoint was saved, also of one whose end is cut off.

    The pickle is looked through and not loaded.

    Args:
        path: a checkpoint of fairseq.

    Returns:
        The number of updates, or None if it cannot be told.
    """
    updates: list[int] = []
    try:
        with open(path, "rb") as file:
            header = file.read(30)
            if header.startswith(_ZIP_START):
                file.seek(len(header) + sum(struct.unpack("<26x2H", header)))
                updates = _values_after(file, "num_updates")
            else:
                file.seek(0)
                for _ in range(_LEGACY_PICKLES - 1):
                    updates = _values_after(file, "num_updates")
    except (OSError, ValueError, struct.error, IndexError):
        pass
    # One entry for every time the run was started; the last has most.
    return max(updates, default=None)


def _values_after(file: BinaryIO, key: str) -> list[int]:
    """Return the numbers that follow a key in the dictionaries of a pickle, as far as it goes."""
    memo: dict[Any, Any] = {}
    values: list[int] = []
    last: Any = None  # the value that was pushed last
    before: Any = None  # the one before
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name.startswith(("BINPUT", "LONG_BINPUT")):
                memo[argument] = last
                continue
            if opcode.name in ("BINGET", "LONG_BINGET"):
                argument = memo.get(argument)
            before, last = last, argument
            if before == key and isinstance(last, int) and not isinstance(last, bool):
                values.append(last)
    except (ValueError, IndexError):
        pass  # the file ends before the pickle does
    return values


def _require_stored_plain(path: str | os.PathLike[str]) -> None:
    """Refuse an archive whose members are compressed: a few bytes could fill the memory.

    Raises:
        ValueError: if ``torch.save``, which compresses nothing, has not written the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [(member.file_size, member.compress_size) for member in archive.infolist()]
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
        raise ValueError("the directory at the end of its archive is damaged") from error
    if any(whole != stored for whole, stored in sizes) or sum(
        stored for _, stored in sizes
    ) > os.path.getsize(path):
        raise ValueError("its archive is compressed, which torch.save never does")


def _way_out(path: str | os.PathLike[str]) -> str:
    if _PART.search(Path(path).name):
        return (
            "it is one part of a checkpoint in several files, and training does not look for "
            "another one by itself; pass --restore-file with the name, without -shardN, of one "
            "of which all parts are whole"
        )
    sibling = newest_good_sibling(path)
    if sibling is None:
        return (
            "there is no complete checkpoint*.pt beside it, so restore it from a copy, or move it "
            "away to train from the start"
        )
    return f"pass --restore-file {sibling}, the newest complete checkpoint beside it (or --path)"


def _legacy_unsafe_globals(file: BinaryIO) -> list[str]:
    """Do what ``get_unsafe_globals_in_checkpoint`` does, which reads only zip archives."""
    named: set[str] = set().union(
        *(_weights_only_unpickler.get_globals_in_pkl(file) for _ in range(_LEGACY_PICKLES))
    )
    allowed = {
        *_weights_only_unpickler._get_allowed_globals(),
        *_weights_only_unpickler._get_user_allowed_globals(),
    }
    return list(named - allowed)
