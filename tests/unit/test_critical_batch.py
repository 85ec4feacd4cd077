"""The critical batch against planted variances, also where the gradient differs by length."""

import math

import numpy as np
import pytest
import torch

from fairseq_bas.measure.critical_batch import (
    critical_batch,
    data_efficiency,
    length_part,
    update_progress,
)
from fairseq_bas.measure.gradient_groups import GradientGroups

DIMENSIONS = 30
MEAN = 0.3
SIZE = 50  # tokens of a micro-batch
BY_LENGTH = 0.04  # variance in each dimension of the mean gradient over lengths
TOKENS = 2.0  # variance in each dimension of a token around the mean of its length


def measure(random, by_length, count=48):
    """Measure micro-batches of one length each, or of tokens of random lengths."""
    gathered = GradientGroups([torch.nn.Parameter(torch.zeros(DIMENSIONS))], 16)
    for number in range(count):
        if by_length:
            of_length = SIZE * math.sqrt(BY_LENGTH) * random.normal(size=DIMENSIONS)
        else:
            of_length = math.sqrt(SIZE * BY_LENGTH) * random.normal(size=DIMENSIONS)
        noise = math.sqrt(SIZE * TOKENS) * random.normal(size=DIMENSIONS)
        total = torch.tensor(SIZE * MEAN + of_length + noise, dtype=torch.float32)
        gathered.add(number % 16, [[total]], SIZE)
    return critical_batch(gathered.moments().estimates())


def test_planted_scales_and_the_part_between_lengths():
    """S is 30 (2 + 0.04) of random tokens; of 50 tokens of one length, 30 (2 + 50 x 0.04)."""
    random = np.random.default_rng(1)
    found = [(measure(random, False), measure(random, True)) for _ in range(60)]
    scale = DIMENSIONS * (TOKENS + BY_LENGTH) / (DIMENSIONS * MEAN**2)
    values = [one.noise_scale.value for one, _ in found]
    assert np.mean(values) == pytest.approx(scale, rel=0.03)
    covered = [one.noise_scale.low <= scale <= one.noise_scale.high for one, _ in found]
    assert np.mean(covered) > 0.86

    parts = [length_part(*pair) for pair in found]
    between = DIMENSIONS * BY_LENGTH * (SIZE - 1)
    assert np.mean([p.between_lengths.value for p in parts]) == pytest.approx(between, rel=0.04)
    covered = [p.between_lengths.low <= between <= p.between_lengths.high for p in parts]
    assert np.mean(covered) > 0.86
    whole = DIMENSIONS * (TOKENS + SIZE * BY_LENGTH)
    assert np.mean([p.share for p in parts]) == pytest.approx(between / whole, rel=0.05)
    bucketed = np.mean([p.noise_scale.value for p in parts])
    assert bucketed == pytest.approx(whole / (DIMENSIONS * MEAN**2), rel=0.04)


def test_no_more_variance_than_chance_is_none():
    random = np.random.default_rng(2)
    part = length_part(measure(random, True), measure(random, False))
    assert part.between_lengths.value == 0 and part.share == 0


def test_a_gradient_that_is_not_seen_has_no_scale():
    random = np.random.default_rng(3)
    gathered = GradientGroups([torch.nn.Parameter(torch.zeros(DIMENSIONS))], 8)
    for number in range(8):
        noise = torch.tensor(random.normal(size=DIMENSIONS), dtype=torch.float32)
        gathered.add(number, [[noise]], 1.0)
    found = critical_batch(gathered.moments().estimates())
    assert found.noise_scale.high == math.inf
    assert found.squared_gradient.low < 0 < found.squared_gradient.high


def test_what_batches_are_worth():
    """Steps S_min (1 + B_noise / B) times tokens a step is E_min (1 + B / B_noise)."""
    scale, smallest_steps = 3000.0, 100.0
    for batch in (10.0, 3000.0, 1e6):
        steps = smallest_steps / update_progress(batch, scale)
        tokens = smallest_steps * scale / data_efficiency(batch, scale)
        assert steps * batch == pytest.approx(tokens)
        excess = (steps / smallest_steps - 1) * (tokens / (smallest_steps * scale) - 1)
        assert excess == pytest.approx(1.0)
    assert update_progress(scale, scale) == data_efficiency(scale, scale) == 0.5
    assert update_progress(7.0, 0.0) == 1.0 and data_efficiency(7.0, 0.0) == 0.0
