"""Law 3 for language models: killed before and after NT-ASGD's trigger, a run ends bit-equal."""

import pytest

from tests.processes import json_log
from tests.toys import tiny_awd_lstm_lm
from tests.resume_runs import assert_bit_equal, kill_after_update, last_checkpoint, train

UPDATES = 42
FLAGS = (
    *("--bas-variable-bptt", "--bas-rotate-streams", "--bas-ar", 2, "--bas-tar", 1),
    *("--bas-zoneout-hidden", 0.1, "--bas-zoneout-cell", 0.2, "--bas-forward-masks", "copy"),
    *("--bas-replicas", "1@0,3@12u", "--bas-target-noise", "mask=0.2,bigram=0.1"),
    *("--optimizer", "bas_nt_asgd", "--bas-nonmono", 1, "--lr", 20, "--clip-norm", 0.5),
    *("--save-interval-updates", 5, "--save-interval", 1000, "--no-epoch-checkpoints"),
)


@pytest.mark.dist
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_killed_language_model_resumes_exactly(toy_lm, tmp_path, workers):
    def flags(name, updates):
        model = tiny_awd_lstm_lm(toy_lm, tmp_path / name)
        return (*model, *FLAGS, "--max-update", updates)

    whole = train(workers, flags("whole", UPDATES))
    kill_after_update(workers, flags("killed", 10 * UPDATES), update=8)
    early = last_checkpoint(tmp_path / "killed")
    kill_after_update(workers, flags("killed", 10 * UPDATES), update=33)
    late = last_checkpoint(tmp_path / "killed")
    for checkpoint in (early, late):
        position = checkpoint["extra_state"]["train_iterator"]
        assert position["iterations_in_epoch"] > 0 and len(position["bas_companions"]["streams"]) == workers
    assert sorted(position["bas_companions"]["streams"][0]) == [0, 1, 2]
    averaging = [run["last_optimizer_state"]["averaging"]["started"] for run in (early, late)]
    assert averaging == [False, True]

    resumed = train(workers, flags("killed", UPDATES))
    assert len(json_log(resumed, "train_inner")) < len(json_log(whole, "train_inner"))
    one, other = (last_checkpoint(tmp_path / name) for name in ("whole", "killed"))
    assert_bit_equal(one, other, "model", "last_optimizer_state")
    positions = [run["extra_state"]["train_iterator"] for run in (one, other)]
    assert_bit_equal(*positions, "bas_companions")
