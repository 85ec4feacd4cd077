"""Law 3: a run killed in the middle of an epoch ends bit-equal to one that was left alone."""

import pytest

from tests.processes import json_log
from tests.toys import tiny_transformer
from tests.resume_runs import assert_bit_equal, kill_after_update, last_checkpoint, train

UPDATES = 40
LAYER_DROP = ("--encoder-layers", 2, "--encoder-layerdrop", 0.3, "--bas-forward-masks", "update")
COMMON = (
    *("--dropout", 0.3, "--bas-replicas", "1@0,3@12u", "--batch-size", 4),
    *("--save-interval-updates", 7, "--save-interval", 1000, "--no-epoch-checkpoints"),
    "--disable-validation",
)
ALL_NOISE = (
    *("--criterion", "bas_cross_entropy", "--num-workers", 2),
    "--bas-source-noise",
    "drop=0.1,mask=0.1,replace=0.1,cutoff=0.1,shuffle=2,switchout=1,bigram=0.1,"
    "feature-cutoff=0.1,span-cutoff=0.1,jitter=0.1,mix=0.2,subword=0.2",
    "--bas-target-noise",
    "mask=0.1,replace=0.1,cutoff=0.1,switchout=1,bigram=0.1,bigram-labels=0.1,"
    "feature-cutoff=0.1,span-cutoff=0.1,jitter=0.1,mix=0.2,subword=0.2",
)


@pytest.mark.dist
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_killed_run_resumes_exactly(toy_pieces, tmp_path, workers):
    noise = (*ALL_NOISE, *LAYER_DROP, "--bas-subword-model", toy_pieces.text / "spm.model")

    def flags(name, updates):
        model = tiny_transformer(toy_pieces, tmp_path / name, task="bas_translation")
        return (*model, *noise, *COMMON, "--max-update", updates)

    train(workers, flags("whole", UPDATES))
    kill_after_update(workers, flags("killed", 10 * UPDATES), update=23)
    killed = last_checkpoint(tmp_path / "killed")
    position = killed["extra_state"]["train_iterator"]
    assert position["epoch"] > 1 and position["iterations_in_epoch"] > 0
    assert killed["optimizer_history"][-1]["num_updates"] < UPDATES

    resumed = train(workers, flags("killed", UPDATES))
    assert len(json_log(resumed, "train_inner")) < UPDATES  # it did not start anew
    whole, killed = (last_checkpoint(tmp_path / name) for name in ("whole", "killed"))
    assert_bit_equal(whole, killed, "model", "last_optimizer_state")
