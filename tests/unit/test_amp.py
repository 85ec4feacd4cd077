"""``--amp``: torch's scaler around the optimizer steps by the gradient and goes on where it was."""

import copy

import torch
from fairseq import optim
from fairseq.optim import AMPOptimizer

from fairseq_bas.precision.unscaled_once import unscale_once
from tests.in_process import config_of
from tests.toys import tiny_transformer


def amp_optimizer(toy, *extra):
    """Return one with torch's scaler of a CPU, and its weight."""
    cfg = config_of([*tiny_transformer(toy, "unused", task="bas_translation"), "--amp", *extra])
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = AMPOptimizer(cfg, [weight], optim.build_optimizer(cfg.optimizer, [weight]))
    settings = {"init_scale": 1024.0, "growth_interval": 3}
    optimizer._grad_scaler = torch.amp.GradScaler("cpu", **settings)
    optimizer.scaler.overflows, optimizer.bas_resumable = 0, True
    unscale_once(optimizer)
    return optimizer, weight


def step(optimizer, weight, factor=1.0):
    optimizer.zero_grad()
    optimizer.backward((factor * weight).sum())
    optimizer.clip_grad_norm(0)
    optimizer.step()


def test_amp_steps_plain_sgd_by_the_gradient(toy):
    optimizer, weight = amp_optimizer(toy, "--optimizer", "sgd", "--lr", 0.25)
    step(optimizer, weight, factor=2.0)
    assert weight.tolist() == [0.5] * 3
    step(optimizer, weight, factor=torch.inf)
    assert weight.tolist() == [0.5] * 3 and optimizer.scaler.get_scale() == 512


def test_amp_restores_torchs_scaler(toy):
    (one, weight), (other, other_weight) = (amp_optimizer(toy) for _ in range(2))
    for factor in (torch.inf, 1.0, 1.0):
        step(one, weight, factor)
    one.scaler.overflows = 1
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for pair in ((one, weight), (other, other_weight)):
        step(*pair)  # the third in a row, after which the scale grows
    assert one.scaler.get_scale() == other.scaler.get_scale() == 1024
    assert other.scaler.overflows == 1
