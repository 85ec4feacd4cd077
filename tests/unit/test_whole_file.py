"""A file is there whole or not at all, whatever happens to its writer."""

import contextlib
import os
import resource
import subprocess
import sys

import pytest
import torch

from fairseq_bas.resilience.digest import matches_digest, save_with_digest
from fairseq_bas.resilience.whole_file import copy_whole, remove_stale, write_whole
from tests.processes import ROOT


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("cannot be pickled")


@contextlib.contextmanager
def largest_file(size):
    """Let no file of this process grow beyond ``size`` bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_object_that_raises_while_pickled_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"old")
    state = {"model": torch.ones(1000), "bad": Unpicklable()}
    with pytest.raises(RuntimeError, match="cannot be pickled"):
        write_whole(path, lambda file: save_with_digest(state, file))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.pt", b"old")]


def test_full_disk_leaves_the_old_file_and_names_it(tmp_path):
    path, source = tmp_path / "a.pt", tmp_path / "b.pt"
    path.write_bytes(b"old")
    source.write_bytes(bytes(300_000))
    for write in (
        lambda: write_whole(path, lambda file: save_with_digest(torch.ones(99_999), file)),
        lambda: copy_whole(source, path),
    ):
        with largest_file(100_000), pytest.raises(OSError, match="File too large") as error:
            write()
        assert error.value.filename == str(path)
        assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2


KILLED = """
import os, signal, sys
from fairseq_bas.resilience.whole_file import write_whole
def write(file):
    file.write(bytes(100_000))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
write_whole(sys.argv[1], write)
"""


def test_killed_writer_leaves_the_old_file_and_a_temporary_that_is_cleared(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT)
    assert killed.returncode == -9 and path.read_bytes() == b"old"
    [left] = [p for p in tmp_path.iterdir() if p != path]
    (tmp_path / "checkpoint.tmp").write_bytes(b"of somebody else")
    assert left.stat().st_size == 100_000 and remove_stale(tmp_path) == [left]
    assert {p.name for p in tmp_path.iterdir()} == {"a.pt", "checkpoint.tmp"}


def test_file_being_written_is_not_stale(tmp_path):
    found = []
    write_whole(tmp_path / "a.pt", lambda file: found.append(remove_stale(tmp_path)))
    assert found == [[]] and (tmp_path / "a.pt").exists()


def test_copy_is_equal_and_apart(tmp_path):
    source, path = tmp_path / "a.pt", tmp_path / "b.pt"
    write_whole(source, lambda file: save_with_digest(torch.ones(1000), file))
    before = source.read_bytes()
    copy_whole(source, path)
    assert path.read_bytes() == before and matches_digest(path)
    with open(path, "r+b") as file:  # as cp does it
        file.write(b"other")
    assert source.read_bytes() == before


def test_access_rights_are_those_of_any_new_file(tmp_path):
    write_whole(tmp_path / "a.pt", lambda file: file.write(b"x"))
    (tmp_path / "b.pt").write_bytes(b"x")
    assert os.stat(tmp_path / "a.pt").st_mode == os.stat(tmp_path / "b.pt").st_mode
