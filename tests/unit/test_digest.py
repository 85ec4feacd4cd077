"""The digest within a checkpoint: any change is found, and everything can read the file."""

import hashlib
import io
import zipfile

import pytest
import torch

from fairseq_bas.checkpoint import damage
from fairseq_bas.resilience.digest import matches_digest, save_with_digest, stored_digest

STATE = {"model": {"w": torch.arange(3000.0)}, "epoch": 3}


@pytest.fixture
def path(tmp_path):
    with open(tmp_path / "checkpoint1.pt", "wb") as file:
        save_with_digest(STATE, file)
    return tmp_path / "checkpoint1.pt"


def test_is_the_sha256_of_what_torch_writes(path):
    plain = io.BytesIO()
    torch.save(STATE, plain)
    assert stored_digest(path) == hashlib.sha256(plain.getvalue()).hexdigest()
    assert path.read_bytes()[: len(plain.getvalue()) - 2] == plain.getvalue()[:-2]
    assert matches_digest(path) is True and damage(path) is None


@pytest.mark.parametrize("how", [{}, {"mmap": True}, {"weights_only": False}])
def test_torch_and_zipfile_read_it(path, how):
    assert torch.equal(torch.load(path, **how)["model"]["w"], STATE["model"]["w"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and archive.comment.startswith(b"sha256:")


def test_every_flipped_bit_is_found(path):
    content = path.read_bytes()
    for position in [*range(0, len(content), 997), *range(len(content) - 100, len(content))]:
        changed = bytearray(content)
        changed[position] ^= 4
        path.write_bytes(changed)
        problem = damage(path)
        # Where the digest is announced, a flipped bit makes a file without one.
        announced = len(content) - 73 <= position < len(content) - 64
        assert problem or announced, position


def test_every_cut_is_found(path):
    content = path.read_bytes()
    for length in [*range(1, len(content), 1999), *range(len(content) - 100, len(content))]:
        path.write_bytes(content[:length])
        assert damage(path), length


def test_file_of_plain_torch_has_none_and_is_good(tmp_path):
    torch.save(STATE, tmp_path / "checkpoint1.pt")
    assert matches_digest(tmp_path / "checkpoint1.pt") is None
    assert damage(tmp_path / "checkpoint1.pt") is None
