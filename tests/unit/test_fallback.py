"""Which checkpoint takes the place of a damaged one."""

import os

import pytest
import torch

from fairseq_bas.checkpoint import updates_of
from fairseq_bas.resilience.fallback import find_fallback
from fairseq_bas.resilience.whole_file import write_whole


def save(path, updates, seconds=0, digest=True, zip_format=True):
    """Write what a run saves after some updates; earlier starts of it left entries too."""
    from fairseq_bas.resilience.digest import save_with_digest

    history = [{"optimizer_name": "A", "num_updates": n} for n in (1, updates // 2, updates)]
    state = {"model": torch.ones(5000), "optimizer_history": history, "num_updates": "none"}
    if digest:
        write_whole(path, lambda file: save_with_digest(state, file))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=zip_format)
    os.utime(path, (1e9 + seconds, 1e9 + seconds))
    return path


def flip(path, position=10_000):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("updates", [3, 300, 70_000, 3_000_000_000])
@pytest.mark.parametrize("zip_format", [True, False])
def test_updates_are_read_from_whole_and_cut_files(tmp_path, updates, zip_format):
    path = save(tmp_path / "a.pt", updates, digest=False, zip_format=zip_format)
    assert updates_of(path) == updates
    os.truncate(path, 3000)
    assert updates_of(path) == updates
    os.truncate(path, 20)
    assert updates_of(path) is None


def test_most_updates_win_and_other_names_are_passed_over(tmp_path):
    last = flip(save(tmp_path / "checkpoint_last.pt", 50, 9))
    save(tmp_path / "checkpoint_2_40.pt", 40, 1)
    save(tmp_path / "checkpoint_best.pt", 20, 5)  # copied later than the newer one was saved
    save(tmp_path / "checkpoint_avg.pt", 50, 9)  # an average made by the user
    save(tmp_path / "checkpoint_last-shard0.pt", 50, 9)
    flip(save(tmp_path / "checkpoint.best_loss_3.1250.pt", 45, 8))
    fallback = find_fallback(last)
    assert fallback.path.name == "checkpoint_2_40.pt"
    assert "checkpoint_last.pt is damaged" in fallback.warning
    assert "from checkpoint_2_40.pt (update 40), and the 10 updates after it" in fallback.warning
    assert "\n" not in fallback.warning


def test_damaged_file_stays_until_replaced_and_is_kept(tmp_path):
    last = flip(save(tmp_path / "checkpoint_last.pt", 50))
    damaged = last.read_bytes()
    save(tmp_path / "checkpoint1.pt", 20)
    assert "stays as checkpoint_last.pt.damaged" in find_fallback(last).warning
    assert find_fallback(last) is not None and last.read_bytes() == damaged  # killed and restarted
    save(last, 21)
    assert find_fallback(last) is None
    flip(last)
    assert "stays as checkpoint_last.pt.damaged-2" in find_fallback(last).warning
    kept = sorted(path.name for path in tmp_path.glob("*damaged*"))
    assert kept == ["checkpoint_last.pt.damaged", "checkpoint_last.pt.damaged-2"]
    assert (tmp_path / kept[0]).read_bytes() == damaged


def test_nothing_good_is_no_fallback(tmp_path):
    last = flip(save(tmp_path / "checkpoint_last.pt", 50))
    flip(save(tmp_path / "checkpoint1.pt", 20))
    assert find_fallback(last) is None and not list(tmp_path.glob("*damaged*"))


def test_end_of_an_unreadable_file_is_not_guessed(tmp_path):
    last = save(tmp_path / "checkpoint_last.pt", 50)
    last.write_bytes(b"")
    save(tmp_path / "checkpoint1.pt", 20)
    assert "(update 20), and the updates after it are done again" in find_fallback(last).warning
