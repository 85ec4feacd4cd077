"""Batch schedules of language models: windows of carried streams make up a larger update."""

import pytest

from tests.in_process import train_here
from tests.resume_runs import assert_bit_equal, last_checkpoint
from tests.toys import tiny_awd_lstm_lm

GROWTH = {
    "piecewise": ("--bas-batch-schedule", "1x@0,2x@3u,3x@1e"),
    "noise-scale": (
        *("--bas-batch-schedule", "noise-scale:fraction=8,every=2,max=3x"),
        *("--bas-measure-every", 1, "--update-freq", 2),
    ),
    "absa": (
        *("--bas-batch-schedule", "absa:every=3u,max=2x,patience=1,sentences=9,adversarial=0"),
        *("--lr-scheduler", "bas_scaled", "--bas-base-schedule", "fixed"),
    ),
}


def run(toy_lm, save_dir, *extra):
    flags = tiny_awd_lstm_lm(toy_lm, save_dir, task="bas_language_modeling")
    return train_here([*flags, "--bas-variable-bptt", "--disable-validation", *extra])


@pytest.mark.parametrize("name", GROWTH)
def test_resume_with_carried_states_is_exact(toy_lm, tmp_path, name):
    """Law 3: in the middle of an epoch, with copies, their own states and dropped weights."""
    flags = (*GROWTH[name], "--bas-replicas", 2, "--bas-weight-drop", 0.3)
    whole = run(toy_lm, tmp_path / "whole", *flags, "--max-update", 14)
    first = run(toy_lm, tmp_path / "parts", *flags, "--max-update", 8)
    position = last_checkpoint(tmp_path / "parts")["extra_state"]["train_iterator"]
    assert position["iterations_in_epoch"] > 0
    second = run(toy_lm, tmp_path / "parts", *flags, "--max-update", 14)
    assert len({entry["bas_kappa"] for entry in whole}) > 1
    for one, other in zip(whole, first + second, strict=True):
        assert (one["wpb"], one["loss"]) == (other["wpb"], other["loss"])
    ends = (last_checkpoint(tmp_path / end) for end in ("whole", "parts"))
    assert_bit_equal(*ends, "model")


def test_an_epoch_holds_every_window_once(toy_lm, tmp_path):
    """Growth changes how windows are grouped, not which there are."""
    tokens, updates = [], []
    for schedule in ("1x", "1x@0,2x@2u", "linear:from=1x,to=4x,over=1e"):
        flags = ("--bas-batch-schedule", schedule, "--no-save", "--max-epoch", 1)
        log = run(toy_lm, tmp_path, *flags)
        tokens.append(sum(entry["wpb"] for entry in log))
        updates.append(len(log))
    assert len(set(tokens)) == 1 and updates[0] > max(updates[1:])


def test_passes_of_streams_cannot_be_merged(toy_lm, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(toy_lm, tmp_path, "--bas-max-tokens-per-pass", 100)
    assert str(stopped.value).startswith("--bas-max-tokens-per-pass puts sentences together")
