"""What `compat.install` allows is what fairseq's checkpoints hold, under every name."""

import collections

import numpy as np
import pytest
import torch

pytest.importorskip("fairseq")
from fairseq import checkpoint_utils, meters

from fairseq_bas import compat
from fairseq_bas.checkpoint import verify_checkpoint

compat.install()


def save_old(state, path):
    """Write a file in the format before zip, in which names are plain text."""
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
@pytest.mark.parametrize("dtype", ["?", "i1", "i4", "i8", "u2", "u8", "f2", "f4", "f8"])
def test_numpy_values_load_under_the_names_of_numpy_1_and_2(tmp_path, module, dtype):
    array = np.arange(3).astype(dtype)
    path = save_old({"counts": array, "best": array[1]}, tmp_path / "checkpoint1.pt")
    content = path.read_bytes()
    for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        content = content.replace(b"c" + name + b"\n", b"c" + module + b"\n")
    path.write_bytes(content)
    verify_checkpoint(path)
    state = torch.load(path, weights_only=True)
    assert np.array_equal(state["counts"], array) and state["counts"].dtype == array.dtype
    assert state["best"] == array[1]


def test_meters_saved_whole_load(tmp_path):
    meter = meters.AverageMeter()
    meter.update(2.5, 4)
    timer = meters.TimeMeter(init=7)
    state = {"train_meters": collections.OrderedDict(loss=meter, wps=timer)}
    path = save_old(state, tmp_path / "checkpoint1.pt")
    verify_checkpoint(path)
    loaded = torch.load(path, weights_only=True)["train_meters"]
    assert (loaded["loss"].avg, loaded["loss"].count, loaded["wps"].init) == (2.5, 4, 7)


def test_installing_twice_wraps_once():
    before = checkpoint_utils.load_checkpoint_to_cpu
    compat.install()
    assert checkpoint_utils.load_checkpoint_to_cpu is before
    assert not hasattr(before.__wrapped__, "__wrapped__")


def test_loading_by_keyword_is_checked_too(tmp_path):
    path = tmp_path / "checkpoint1.pt"
    path.write_bytes(b"")
    with pytest.raises(SystemExit, match=r"checkpoint1\.pt is empty"):
        checkpoint_utils.load_checkpoint_to_cpu(arg_overrides=None, path=str(path))
