import copy

import pytest
import torch
from torch import nn

from fairseq_bas.optim.decentralised_sgd import DecentralisedSGD
from fairseq_bas.optim.neighbour_exchange import NeighbourExchange
from fairseq_bas.optim.topology import mixing_matrix


def train(model, optimizer, updates=4):
    """Train on an input that differs from update to update."""
    for update in range(updates):
        optimizer.zero_grad()
        inputs = torch.linspace(-1, 1 + update, 6).view(2, 3)
        model(inputs).square().sum().backward()
        optimizer.step()


@pytest.fixture
def models():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1, bias=False))
    return model, copy.deepcopy(model)


def alone(model, **options):
    return DecentralisedSGD(model.parameters(), lr=0.1, rule="allreduce", **options)


def assert_same(one, other):
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_alone_it_is_sgd_with_momentum_and_weight_decay(models):
    ours, theirs = models
    train(ours, alone(ours, momentum=0.8, weight_decay=0.1))
    train(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.8, weight_decay=0.1))
    assert_same(ours, theirs)


def test_state_goes_on(models):
    ours, theirs = models
    optimizer = alone(ours)
    train(ours, optimizer, 4)
    train(ours, optimizer, 4)
    first = alone(theirs)
    train(theirs, first, 4)
    second = alone(theirs)
    assert second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(theirs, second, 4)
    assert_same(ours, theirs)
    assert second.velocity.abs().max() > 0


def test_state_of_other_workers_is_averaged(models):
    optimizer = alone(models[0])
    state = optimizer.state_dict()
    size = len(optimizer.velocity)
    velocities = [torch.full((size,), value) for value in (1.0, 2.0, 6.0)]
    state["decentralised"] |= {"weights": [torch.zeros(size)] * 3, "velocity": velocities}
    assert not optimizer.load_state_dict(state)
    assert torch.equal(optimizer.velocity, torch.full((size,), 3.0))


def test_state_of_another_rule_is_refused(models):
    state = DecentralisedSGD(models[0].parameters(), lr=0.1, rule="decentlam").state_dict()
    with pytest.raises(ValueError, match="is of --bas-decentralised decentlam"):
        alone(models[1]).load_state_dict(state)


@pytest.mark.parametrize("keeps_workers", [True, False])
def test_gathering_needs_the_average(models, keeps_workers):
    exchange = NeighbourExchange(mixing_matrix("full", 2), 0)  # nobody is asked
    optimizer = DecentralisedSGD(
        models[0].parameters(), lr=0.1, exchange=exchange, keeps_workers=keeps_workers
    )
    with pytest.raises(RuntimeError, match="call use_average"):
        optimizer.gather()


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"momentum": 1.0}, "--momentum 1.0"), ({"weight_decay": -1.0}, "--weight-decay -1.0")],
)
def test_numbers_out_of_range_are_refused(models, options, reason):
    with pytest.raises(ValueError, match=reason):
        alone(models[0], **options)


def test_half_precision_is_refused(models):
    with pytest.raises(ValueError, match="half precision"):
        alone(models[0].half())
