"""Quick seeding against torch's own, and fairseq's seed of an update."""

import functools
from types import SimpleNamespace

import torch
from fairseq.trainer import Trainer

import fairseq_bas
from fairseq_bas.seeding import seed_generators


def test_state_is_that_of_manual_seed():
    for seed in (0, 1, 2**40 + 3, 2**63 - 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        seed_generators(seed)
        assert torch.equal(torch.get_rng_state(), state)


def test_updates_begin_with_fairseqs_seed_in_all_tasks():
    fairseq_bas.register()
    for task in (SimpleNamespace(), SimpleNamespace(replica_plan=None)):
        common = SimpleNamespace(seed=5)
        trainer = SimpleNamespace(tpu=False, task=task, cfg=SimpleNamespace(common=common))
        trainer.get_num_updates = functools.partial(int, 37)
        Trainer._set_seed(trainer)
        drawn = torch.rand(3)
        torch.manual_seed(42)
        assert torch.equal(torch.rand(3), drawn)
