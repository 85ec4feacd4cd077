"""ABSA's decisions on scripted eigenvalues, against the published rule written out plainly."""

import math

import pytest

from fairseq_bas.batching.amount import Amount, BaseBatch, Span
from fairseq_bas.batching.policy import parse_batch_schedule
from fairseq_bas.config import Clock

BASE = BaseBatch(sentences=64, target_tokens=2000)


def controller_of(text):
    controller = parse_batch_schedule(text)
    controller.bind(BASE)
    return controller


def published(eigenvalues, alpha, beta, kappa, omega, gamma, largest):
    """Return (batch, lr factor, adversarial share) after each epoch, as in the authors' code."""
    ratio, lr, reference, idle = 1, 1.0, None, 0
    decisions = []
    for value in eigenvalues:
        if ratio < largest:  # tracking ends with the largest batch
            idle += 1
            grow = False
            if reference is None:
                reference = value
            elif value <= reference / alpha:
                reference, grow = value, True
            if idle >= kappa:
                grow = True
            if grow:
                grown = min(beta * ratio, largest)
                gamma = 0.0 if grown == largest else gamma / omega
                lr *= grown / ratio
                ratio, idle = grown, 0
        decisions.append((ratio, lr, gamma))
    return decisions


@pytest.mark.parametrize(
    "eigenvalues",
    [
        [40, 39, 20, 19, 10.1, 10, 9, 4, 100],  # drops, and one that is just too small
        [40, *[39] * 12, 19, *[18] * 12],  # patience, then a drop that starts counting anew
        [40, 50, 60, 30, 20, 20, 20, 20, 20, 20, 20, 20, 10, 5, 2, 1, 0.5],  # to the maximum
    ],
)
@pytest.mark.parametrize("beta", [2, 3])
def test_decisions_on_a_scripted_sequence_equal_the_published_rule(eigenvalues, beta):
    controller = controller_of(f"absa:max=16x,patience=5,factor={beta}")
    found = []
    for epoch, value in enumerate(eigenvalues, start=1):
        clock = Clock(epochs=epoch)
        if controller.is_due(clock):
            controller.begin_measurement(clock)
            controller.observe_curvature(value)
        decision = controller.decide(clock, 1.0)
        share = controller.adversarial_share(clock)
        found.append((decision.multiple, decision.lr_factor, share))
    wanted = published(eigenvalues, alpha=2, beta=beta, kappa=5, omega=2, gamma=0.2, largest=16)
    assert found == [pytest.approx(row) for row in wanted]


def test_the_defaults_are_the_papers():
    controller = controller_of("absa:max=128x")
    assert (controller.drop, controller.factor, controller.patience) == (2, 2, 10)
    assert (controller.first_share, controller.relax, controller.until) == (0.2, 2, 0.5)
    assert (controller.every, controller.bounds.maximum) == (Span(1, "e"), Amount(128))


def test_measures_once_an_interval_and_never_at_the_largest_batch():
    controller = controller_of("absa:every=100u,max=2x")
    due = []
    for updates in range(0, 500, 30):
        clock = Clock(updates=updates)
        if controller.is_due(clock):
            due.append(updates)
            controller.begin_measurement(clock)
            controller.observe_curvature({120: 8.0, 210: 7.0}.get(updates, 4.0))
    assert due == [120, 210, 300]  # 4 is half of 8, and 2x the maximum


def test_no_copy_is_adversarial_in_the_second_half_of_training():
    controller = controller_of("absa:max=16x,adversarial=0.3")
    controller.progress = lambda clock: clock.epochs / 10
    shares = [controller.adversarial_share(Clock(epochs=epoch)) for epoch in (0, 4.9, 5, 9)]
    assert shares == [0.3, 0.3, 0, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -3.0, 0.0])
def test_a_value_without_meaning_is_no_drop(value):
    controller = controller_of("absa:max=16x")
    for eigenvalue in (8.0, value, 4.1):
        controller.observe_curvature(eigenvalue)
    assert controller.decide(Clock(), 1.0).multiple == 1


def test_goes_on_from_its_state():
    eigenvalues = [40, 39, 19, 18, 18, 18, 9, 3]
    whole, first = (controller_of("absa:max=32x,patience=3") for _ in range(2))
    for epoch, value in enumerate(eigenvalues, start=1):
        if epoch == 5:
            state, first = first.state_dict(), controller_of("absa:max=32x,patience=3")
            first.load_state_dict(state)
        for controller in (whole, first):
            controller.begin_measurement(Clock(epochs=epoch))
            controller.observe_curvature(value)
        assert first.decide(Clock(), 1.0) == whole.decide(Clock(), 1.0)
    assert first.state_dict() == whole.state_dict()
    assert whole.decide(Clock(), 1.0).multiple == 16
