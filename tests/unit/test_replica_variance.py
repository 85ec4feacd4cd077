"""What copies are worth, from a linear model whose gradients have a known covariance."""

import math

import numpy as np
import pytest
import torch

from fairseq_bas.measure.gradient_groups import GradientGroups
from fairseq_bas.measure.grouped_moments import GroupedMoments
from fairseq_bas.measure.jackknife import Interval
from fairseq_bas.measure.noise_scale import GradientMoments
from fairseq_bas.measure.replica_variance import (
    ReplicaVariance,
    choose,
    interpolated_costs,
    worth_of_step,
)
from fairseq_bas.measure.two_level import estimate

SIZES = (30, 70, 45, 60) * 8  # tokens of the micro-batches
DIMENSIONS = 40
BETWEEN = np.linspace(0.2, 3.0, DIMENSIONS)  # variances by dimension
WITHIN = np.linspace(4.0, 0.5, DIMENSIONS)
MEAN = np.full(DIMENSIONS, 0.2)


class LinearModel(torch.nn.Module):
    """A loss w . x, whose gradient for a token is its x; two parameters, one of them a matrix."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Parameter(torch.zeros(10, dtype=torch.float64))
        self.second = torch.nn.Parameter(torch.zeros(5, 6, dtype=torch.float64))

    def forward(self, x):
        return torch.cat([self.first, self.second.flatten()]) @ x


def draw(random, size, copies):
    """Return (copies, D): x of each copy summed over the tokens of a micro-batch."""
    between = size * MEAN + random.normal(size=DIMENSIONS) * np.sqrt(size * BETWEEN)
    return between + random.normal(size=(copies, DIMENSIONS)) * np.sqrt(size * WITHIN)


def measure(random, copies=4, groups=16, sizes=SIZES):
    model = LinearModel()
    gathered = GradientGroups(list(model.parameters()), groups, copies)
    for number, size in enumerate(sizes):
        gradients = []
        for x in draw(random, size, copies):
            loss = model(torch.from_numpy(x))
            gradients.append(list(torch.autograd.grad(loss, list(model.parameters()))))
        gathered.add(number % groups, gradients, size)
    return gathered


def truth(replicas):
    return BETWEEN.sum() + WITHIN.sum() / replicas


@pytest.fixture(scope="module")
def measured():
    """A hundred measurements of the model with planted variances."""
    random = np.random.default_rng(5)
    return [ReplicaVariance(measure(random).moments().estimates()) for _ in range(100)]


QUANTITIES = {
    "correlation": (lambda f: f.correlation, BETWEEN.sum() / truth(1)),
    "between": (lambda f: f.between, BETWEEN.sum()),
    "within": (lambda f: f.within, WITHIN.sum()),
    "squared gradient": (lambda f: f.squared_gradient, MEAN @ MEAN),
    "variance of 2": (lambda f: f.variance(2), truth(2)),
    "variance of 16": (lambda f: f.variance(16), truth(16)),
    "factor of 8": (lambda f: f.factor(8), truth(1) / truth(8)),
    "critical batch of 8": (lambda f: f.noise_scale(8), truth(8) / (MEAN @ MEAN)),
    "progress of 4": (lambda f: f.progress(4, 50.0), 1 / (1 + truth(4) / (MEAN @ MEAN) / 50)),
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_planted_values_are_found_and_covered(measured, name):
    """Estimates are right on average, and 95 % intervals hold the truth as often as they say."""
    of, planted = QUANTITIES[name]
    found = [of(one) for one in measured]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(planted, rel=0.03)
    assert values.std() < 0.3 * planted
    covered = np.mean([one.low <= planted <= one.high for one in found])
    assert covered >= 0.88, "of 100 intervals, 95 % ones"
    widths = [one.high - one.low for one in found]
    assert np.median(widths) == pytest.approx(2 * 2.13 * values.std(), rel=0.35)


def test_leaving_a_group_out_is_measuring_without_it():
    """The Gram matrix gives to rounding what the other micro-batches alone would have given."""
    sizes, copies = SIZES[:10], 3
    random = np.random.default_rng(6)
    gradients = [draw(random, size, copies) for size in sizes]
    found = gathered(gradients, sizes, groups=5)
    for left_out in range(5):
        moments, total = GradientMoments(), 0.0
        for number, (of_copies, size) in enumerate(zip(gradients, sizes, strict=True)):
            if number % 5 == left_out:
                continue
            mean = of_copies.mean(axis=0)
            within = ((of_copies - mean) ** 2).sum() / (copies - 1) / size
            moments += GradientMoments(1, size, mean @ mean / size, within)
            total = total + mean
        whole = estimate(moments, (total @ total) / moments.tokens**2, copies, copies)
        expected = [
            whole.variance - whole.within / copies,
            whole.within,
            whole.squared_gradient,
        ]
        np.testing.assert_allclose(found.leave_out[left_out], expected, rtol=1e-9)
    assert found.micro_batches == 10 and found.tokens == sum(sizes)


def gathered(gradients, sizes, groups):
    parameter = torch.nn.Parameter(torch.zeros(DIMENSIONS, dtype=torch.float64))
    gathered = GradientGroups([parameter], groups, len(gradients[0]))
    for number, (of_copies, size) in enumerate(zip(gradients, sizes, strict=True)):
        gathered.add(number % groups, [[torch.tensor(g)] for g in of_copies], size)
    return gathered.moments().estimates()


def test_merged_measurements_are_one():
    random = np.random.default_rng(7)
    sizes = SIZES[:12]
    gradients = [draw(random, size, 2) for size in sizes]
    whole = GradientGroups([torch.nn.Parameter(torch.zeros(DIMENSIONS))], 4, 2)
    halves = [GradientGroups([torch.nn.Parameter(torch.zeros(DIMENSIONS))], 4, 2) for _ in "ab"]
    for number, (of_copies, size) in enumerate(zip(gradients, sizes, strict=True)):
        for target in (whole, halves[number // 8]):
            copies = [[torch.tensor(g, dtype=torch.float32)] for g in of_copies]
            target.add(number % 4, copies, size)
    halves[0].merge(halves[1])
    np.testing.assert_allclose(
        halves[0].moments().estimates().values, whole.moments().estimates().values, rtol=1e-5
    )


def test_copies_without_noise_are_one():
    random = np.random.default_rng(8)
    gradients = [np.repeat(draw(random, size, 1), 3, axis=0) for size in SIZES]
    found = ReplicaVariance(gathered(gradients, SIZES, groups=8))
    assert found.correlation.value == pytest.approx(1.0, abs=1e-12)
    assert found.factor(32).high < 1.001
    assert choose(found.correlation, {m: float(m) for m in (1, 2, 4)}).replicas == 1


def test_too_little_is_refused():
    random = np.random.default_rng(9)
    with pytest.raises(ValueError, match="cannot be told from one"):
        ReplicaVariance(measure(random, copies=1, sizes=SIZES[:8], groups=4).moments().estimates())
    with pytest.raises(ValueError, match="at least two micro-batches"):
        measure(random, sizes=SIZES[:2], groups=3).moments().estimates()
    with pytest.raises(ValueError, match="too few to leave some out"):
        measure(random, sizes=SIZES[:2], groups=2).moments().estimates()
    infinite = GroupedMoments([GradientMoments(2, 9, math.inf, 1.0)] * 2, np.ones((2, 2)), 2)
    with pytest.raises(ValueError, match="not finite"):
        infinite.estimates()


def test_the_choice_by_hand():
    """At rho = 1/9, t_w = 8 t_b: doubling M pays while t_w / M > t_b on the way."""
    passes = interpolated_costs({}, [1, 2, 4, 8, 16, 32])
    assert passes == {1: 1, 2: 2, 4: 4, 8: 8, 16: 16, 32: 32}
    rho = 1 / 9
    # B_eff / B = 9 M / (M + 8): 1, 1.8, 3, 4.5, 6, 7.2; logs to base 2 of its steps:
    for (fewer, more), step in zip(
        [(1, 2), (2, 4), (4, 8), (8, 16)],
        [math.log2(1.8), math.log2(3 / 1.8), math.log2(1.5), math.log2(6 / 4.5)],
        strict=True,
    ):
        assert worth_of_step(rho, (fewer, fewer), (more, more)) == pytest.approx(step)
    choice = choose(Interval(rho, 0.05, 0.2), passes)
    assert (choice.replicas, choice.low, choice.high, choice.is_last) == (8, 4, 16, False)
    cheap = interpolated_costs({32: 2.0}, passes)
    assert choose(Interval(rho, 0.05, 0.2), cheap).is_last
    assert choose(Interval(None, 0.0, 1.0), passes).replicas == 1, "not known is not worth it"
    assert worth_of_step(rho, (1, 1.0), (2, 1.0)) == math.inf


@pytest.mark.parametrize("prices", [{2: 0.5}, {2: -1.0}, {2: 3.0, 4: 2.0}, {2: math.inf}])
def test_prices_that_make_no_sense(prices):
    with pytest.raises(ValueError, match="must be positive and not fall"):
        interpolated_costs(prices, [1, 2, 4])
