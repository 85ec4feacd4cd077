"""The factor on the learning rate, against fairseq's schedulers without one."""

import copy
from types import SimpleNamespace

import pytest
import torch
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY, LR_SCHEDULER_REGISTRY
from fairseq.optim.sgd import SGD

from fairseq_bas.resilience.learning_rate_factor import LearningRateFactor

SCHEDULES = {
    "inverse_sqrt": {"warmup_updates": 4},
    "fixed": {"lr": [0.1, 0.03], "force_anneal": 3, "lr_shrink": 0.5},
    "cosine": {"max_update": 12, "warmup_updates": 2},
    "polynomial_decay": {"total_num_update": 12},
    "reduce_lr_on_plateau": {"lr_shrink": 0.3, "maximize_best_checkpoint_metric": False},
}
VALID_LOSSES = [5.0, 6.0, 7.0, 4.0, 4.5]


def build(name):
    """Build a scheduler and its optimizer as the trainer does."""
    flags = SimpleNamespace(lr=[0.1], momentum=0.0, weight_decay=0.0)
    optimizer = SGD(flags, [torch.nn.Parameter(torch.zeros(1))])
    settings = {"lr": [0.1], **SCHEDULES[name]}
    cfg = LR_SCHEDULER_DATACLASS_REGISTRY[name](**settings)
    scheduler = LR_SCHEDULER_REGISTRY[name](cfg, optimizer)
    scheduler.step_update(0)
    return scheduler, optimizer


def run(scheduler, optimizer, epochs):
    """Make three updates an epoch in the order of fairseq's trainer; return each one's rate."""
    rates = []
    for epoch in epochs:
        scheduler.step_begin_epoch(epoch)
        scheduler.step_update(3 * (epoch - 1))
        for update in range(3 * epoch - 2, 3 * epoch + 1):
            rates.append(optimizer.get_lr())
            returned = scheduler.step_update(update)
            assert returned == optimizer.get_lr()
        scheduler.step(epoch, VALID_LOSSES[epoch - 1])
        scheduler.step_update(3 * epoch)
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_rate_is_the_schedulers_own_times_the_factor(name):
    plain = run(*build(name), range(1, 6))
    scheduler, optimizer = build(name)
    scaled = LearningRateFactor(scheduler)
    scaled.factor = 0.3
    assert len(set(plain)) > 1  # or nothing is shown
    assert run(scaled, optimizer, range(1, 6))[1:] == [0.3 * rate for rate in plain][1:]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_resumed_run_has_the_same_rates(name):
    scheduler, optimizer = build(name)
    scaled = LearningRateFactor(scheduler)
    scaled.factor = 0.3
    run(scaled, optimizer, range(1, 4))
    state = copy.deepcopy((scaled.state_dict(), optimizer.state_dict()))
    expected = run(scaled, optimizer, range(4, 6))

    scheduler, optimizer = build(name)
    resumed = LearningRateFactor(scheduler)
    resumed.load_state_dict(state[0])
    optimizer.load_state_dict(state[1])
    resumed.step_update(9)  # as the trainer does
    assert run(resumed, optimizer, range(4, 6)) == expected


def test_without_a_factor_nothing_is_added():
    scheduler, optimizer = build("cosine")
    scaled = LearningRateFactor(scheduler)
    assert run(scaled, optimizer, range(1, 6)) == run(*build("cosine"), range(1, 6))
    assert scaled.state_dict() == scheduler.state_dict()
    assert scaled.cfg is scheduler.cfg
