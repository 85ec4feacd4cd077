"""Law 2 for language models with two real workers, everything random switched on."""

import pytest

from tests.processes import run_cli, run_workers
from tests.toys import tiny_awd_lstm_lm
from tests.resume_runs import assert_bit_equal, last_checkpoint

NOISE = (
    *("--bas-replicas", 2, "--bas-target-noise", "mask=0.2,jitter=0.1", "--bas-variable-bptt"),
    *("--bas-zoneout-hidden", 0.1, "--bas-zoneout-cell", 0.2, "--bas-ar", 2, "--bas-tar", 1),
    *("--max-update", 7, "--no-epoch-checkpoints", "--disable-validation"),
)

pytestmark = [pytest.mark.dist, pytest.mark.slow]


def assert_equal_runs(*folders):
    one, other = (last_checkpoint(folder) for folder in folders)
    assert_bit_equal(one, other, "model")
    positions = [run["extra_state"]["train_iterator"] for run in (one, other)]
    assert_bit_equal(*positions, "bas_companions")


def test_copies_in_passes_and_on_workers_agree_bit_for_bit(toy_lm, tmp_path):
    """Each worker carries the states of its copies as the passes of one worker would."""
    flags = [*tiny_awd_lstm_lm(toy_lm, tmp_path / "passes"), *NOISE, "--bas-placement", "passes"]
    run_cli("fairseq_cli.train", *flags)
    flags = [*tiny_awd_lstm_lm(toy_lm, tmp_path / "workers"), *NOISE, "--bas-placement", "workers"]
    run_workers(2, "fairseq_cli.train", *flags)
    assert_equal_runs(tmp_path / "passes", tmp_path / "workers")


def test_streams_on_workers_and_in_micro_batches_agree_bit_for_bit(toy_lm, tmp_path):
    """Two workers of five streams are one worker with two micro-batches of five."""
    flags = [*tiny_awd_lstm_lm(toy_lm, tmp_path / "one"), *NOISE, "--update-freq", 2]
    run_cli("fairseq_cli.train", *flags)
    run_workers(2, "fairseq_cli.train", *tiny_awd_lstm_lm(toy_lm, tmp_path / "two"), *NOISE)
    assert_equal_runs(tmp_path / "one", tmp_path / "two")
