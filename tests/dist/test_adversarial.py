"""Stale attacks on two real workers: the same as on one, and exact after a kill."""

import pytest
import torch

from tests.toys import tiny_transformer
from tests.in_process import train_here
from tests.resume_runs import assert_bit_equal, kill_after_update, last_checkpoint, train

UPDATES, STALENESS = 14, 2
FLAGS = (
    *("--bas-adversarial", "stale", "--bas-adversarial-staleness", STALENESS),
    *("--bas-adversarial-share", "0.2@0,0.7@6u", "--bas-replicas", 2, "--dropout", 0.3),
    *("--criterion", "bas_cross_entropy", "--bas-adversarial-size", 0.2, "--max-tokens", 60),
    *("--no-epoch-checkpoints", "--disable-validation", "--save-interval-updates", 3),
    *("--save-interval", 1000),
)


@pytest.mark.dist
def test_two_killed_workers_equal_one_that_accumulates(toy, tmp_path):
    def flags(name, *extra):
        model = tiny_transformer(toy, tmp_path / name, task="bas_translation")
        return (*model, *FLAGS, *extra)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers have
    log = train_here(flags("one", "--update-freq", 2, "--max-update", UPDATES))
    torch.set_num_threads(threads)
    shares = [entry["bas_adversarial_share"] for entry in log]
    assert sum(shares[:6]) < sum(shares[6:12]) < 6
    kill_after_update(2, flags("two", "--max-update", 100 * UPDATES), update=10)
    killed = last_checkpoint(tmp_path / "two")
    position = killed["extra_state"]["train_iterator"]
    stopped = killed["optimizer_history"][-1]["num_updates"]
    kept = position["bas_companions"]["stale_parameters"]
    assert kept["updates"] == [stopped - 2, stopped - 1] and position["iterations_in_epoch"] > 0
    weights = [p for p in killed["model"].values() if p.is_floating_point() and p.numel() > 1]
    assert [len(p) for p in kept["parameters"]] == [len(kept["parameters"][0])] * STALENESS
    assert not torch.equal(kept["parameters"][0][0], weights[0])

    train(2, flags("two", "--max-update", UPDATES))
    one, two = (last_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert_bit_equal(one, two, "model", "last_optimizer_state")
    both = [run["extra_state"]["train_iterator"]["bas_companions"] for run in (one, two)]
    assert_bit_equal(*both, "stale_parameters")
