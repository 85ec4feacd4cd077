"""Checkpoint files: what is in them, whether they are whole, which one to use instead."""

import collections
import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import torch

from fairseq_bas.checkpoint import newest_good_sibling, unsafe_globals, verify_checkpoint

MODEL = {"model": collections.OrderedDict(w=torch.ones(300)), "extra_state": {"epoch": 1}}
FORMATS = pytest.mark.parametrize("zip_format", [True, False])


class Payload:
    """Unpickles to the call of a function that leaves a trace."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def save(state, path, zip_format=True):
    torch.save(state, path, _use_new_zipfile_serialization=zip_format)
    return path


@FORMATS
def test_accepts_what_torch_wrote_and_loads_safely(tmp_path, zip_format):
    values = {"set": {1}, "bytes": b"x", "size": torch.Size([2]), "dtype": torch.float16}
    path = save({**MODEL, **values}, tmp_path / "checkpoint1.pt", zip_format)
    verify_checkpoint(path)
    assert unsafe_globals(path) == []
    assert torch.equal(torch.load(path, weights_only=True)["model"]["w"], torch.ones(300))


@FORMATS
def test_names_code_and_does_not_run_it(tmp_path, zip_format):
    trace = tmp_path / "trace"
    path = save({**MODEL, "x": Payload(trace)}, tmp_path / "checkpoint1.pt", zip_format)
    assert unsafe_globals(path) == ["posix.mkdir"]
    with pytest.raises(ValueError, match=r"checkpoint1\.pt was refused .* posix\.mkdir;"):
        verify_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the payload must work, or this test shows nothing"


@FORMATS
def test_a_type_added_to_the_allow_list_is_allowed(tmp_path, zip_format):
    path = save({"x": collections.deque([1])}, tmp_path / "checkpoint1.pt", zip_format)
    assert unsafe_globals(path) == ["collections.deque"]
    with torch.serialization.safe_globals([collections.deque]):
        verify_checkpoint(path)
    with torch.serialization.safe_globals([(list, "collections.deque")]):
        verify_checkpoint(path)


def test_a_computed_name_in_the_old_format_is_not_overlooked(tmp_path):
    """Protocol 4 pushes the names of a function as strings: no opcode spells them out."""
    path = tmp_path / "checkpoint1.pt"
    torch.save(
        {"x": Payload(tmp_path / "trace")},
        path,
        pickle_protocol=4,
        _use_new_zipfile_serialization=False,
    )
    # Written with protocol 4, the header differs too; a forger would write the usual header.
    body = path.read_bytes()
    for _ in range(2):
        stream = io.BytesIO(body)
        pickle.load(stream)
        body = body[stream.tell() :]
    header = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2) + pickle.dumps(1001, 2)
    path.write_bytes(header + body)
    with pytest.raises(ValueError, match=r"its content is not that of torch\.save: Unsupported"):
        verify_checkpoint(path)


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.99])
def test_truncated_archive_names_the_newest_complete_sibling(tmp_path, kept):
    for age, name in enumerate(["checkpoint2.pt", "checkpoint_best.pt", "checkpoint1.pt"]):
        save(MODEL, tmp_path / name)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    save({"x": Payload(tmp_path / "trace")}, tmp_path / "checkpoint9.pt")  # newer, not good
    (tmp_path / "checkpoint8.pt").write_bytes(b"")
    save(MODEL, tmp_path / "checkpoint_last-shard1.pt")
    path = save({"model": torch.ones(30_000)}, tmp_path / "checkpoint_last.pt")
    size = int(path.stat().st_size * kept)
    os.truncate(path, size)
    with pytest.raises(ValueError) as error:
        verify_checkpoint(path)
    assert f"checkpoint_last.pt is incomplete or damaged: it has {size} bytes" in str(error.value)
    assert f"pass --restore-file {tmp_path / 'checkpoint2.pt'}, the newest" in str(error.value)
    assert "\n" not in str(error.value)
    assert newest_good_sibling(path) == tmp_path / "checkpoint2.pt"


def test_truncated_pickles_of_the_old_format(tmp_path):
    path = save(MODEL, tmp_path / "checkpoint1.pt", zip_format=False)
    os.truncate(path, 150)
    with pytest.raises(ValueError, match=r"has 150 bytes .* no complete checkpoint"):
        verify_checkpoint(path)


def test_says_so_where_there_is_no_sibling(tmp_path):
    path = save(MODEL, tmp_path / "checkpoint_last.pt")
    os.truncate(path, 500)
    with pytest.raises(ValueError, match=r"there is no complete checkpoint\*\.pt beside it"):
        verify_checkpoint(path)


@pytest.mark.parametrize(
    "make, complaint",
    [
        (lambda path: None, "cannot be read .No such file or directory."),
        (lambda path: path.mkdir(), "cannot be read .Is a directory."),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(bytes(1000)), "is not a checkpoint written by torch.save"),
        (lambda path: path.write_text("version https://"), r"it starts with b'version '"),
        (lambda path: pickle.dump({"model": 1}, path.open("wb")), "is not a checkpoint"),
    ],
    ids=["missing", "folder", "empty", "zeros", "text", "bare-pickle"],
)
def test_files_that_are_no_checkpoint(tmp_path, make, complaint):
    path = tmp_path / "checkpoint_last.pt"
    make(path)
    with pytest.raises(ValueError, match=complaint):
        verify_checkpoint(path)


def test_tar_archive_with_the_start_of_a_checkpoint_is_refused(tmp_path):
    """With its safe loader off, torch tries tar first, whatever the first bytes are."""
    path = tmp_path / "checkpoint1.pt"
    start = save(MODEL, tmp_path / "checkpoint2.pt", zip_format=False).read_bytes()[:21]
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo(start.decode("latin-1")))
    assert path.read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"is not a checkpoint written by torch\.save"):
        verify_checkpoint(path)


def test_torchscript_archive_is_refused(tmp_path):
    path = tmp_path / "checkpoint1.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(ValueError, match="torchscript"):
        verify_checkpoint(path)


def test_sibling_search_needs_a_folder_only(tmp_path):
    assert newest_good_sibling(Path(tmp_path, "checkpoint_last.pt")) is None


def test_damaged_part_of_a_checkpoint_says_how_to_name_another(tmp_path):
    """No other file can stand in for one part, though a whole checkpoint lies beside it."""
    save(MODEL, tmp_path / "checkpoint1.pt")
    part = save(MODEL, tmp_path / "checkpoint_last-shard1.pt")
    os.truncate(part, os.path.getsize(part) - 10)
    with pytest.raises(ValueError, match=r"is incomplete .* one part .* without -shardN, of one"):
        verify_checkpoint(part)
