"""LARS against the paper's equations in plain floats, and pytorch_optimizer."""

import math

import pytest
import torch

from fairseq_bas.optim.lars import LARS
from tests.layerwise_layers import (
    RATES,
    STEPS,
    expect,
    expect_same_bits_after_resume,
    groups,
    run,
    weights,
)

MOMENTUM, COEFFICIENT = 0.8, 0.3


def norm(values):
    return math.sqrt(sum(value * value for value in values))


def reference(decay=0.0, include_vectors=False, rowwise=False):
    """Return Algorithm 1 of arXiv 1708.03888 for one layer."""

    def of_layer(w, gradients, is_matrix):
        adapted = is_matrix or include_vectors
        velocity = [0.0] * len(w)
        for g, lr in zip(gradients, RATES, strict=True):
            if g is None:
                continue
            ratio, whole = 1.0, norm(g) + decay * norm(w)
            if adapted and norm(w) > 0 and whole > 0:
                ratio = COEFFICIENT * norm(w) / whole
            if adapted and rowwise and norm(g) == 0:
                ratio = 0.0
            for i in range(len(w)):
                gradient = g[i] + decay * w[i] if adapted else g[i]
                velocity[i] = MOMENTUM * velocity[i] + lr * ratio * gradient
            w = [w[i] - velocity[i] for i in range(len(w))]
        return w

    return of_layer


def lars(params, **options):
    return LARS(params, RATES[0], MOMENTUM, trust_coefficient=COEFFICIENT, **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("include_vectors", [False, True])
def test_equals_the_equations(dtype, decay, include_vectors):
    params = weights(dtype)
    optimizer = lars(params, weight_decay=decay, include_vectors=include_vectors)
    expected = reference(decay, include_vectors)
    expect(params, optimizer, expected, tolerance=1e-11 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rows_are_layers_and_absent_rows_are_not_shrunk(decay):
    params = weights()
    optimizer = lars(groups(params, rowwise=True), weight_decay=decay)

    def expected(w, gradients, is_matrix):
        is_row = len(w) == 2
        return reference(decay, rowwise=is_row)(w, gradients, is_matrix)

    expect(params, optimizer, expected, rowwise=True)


def test_resume_is_bit_equal(tmp_path):
    expect_same_bits_after_resume(lambda p: lars(p, weight_decay=0.1), tmp_path)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_agrees_with_pytorch_optimizer(decay):
    """Agree while the learning rate is constant: its momentum is before the learning rate."""
    package = pytest.importorskip("pytorch_optimizer")
    ours, theirs = weights(), weights()
    constant = [0.05] * STEPS
    run(ours, lars(ours, weight_decay=decay), rates=constant)
    options = {"momentum": MOMENTUM, "trust_coefficient": COEFFICIENT, "weight_decay": decay}
    run(theirs, package.LARS(theirs, lr=0.05, **options), rates=constant)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_zero_norms():
    """Zero weights move as in SGD; a zero gradient leaves a layer without decay alone."""
    zero, still = (torch.nn.Parameter(x) for x in (torch.zeros(2, 2), torch.ones(2, 2)))
    zero.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    LARS([zero, still], lr=0.1).step()
    torch.testing.assert_close(zero.detach(), torch.full((2, 2), -0.1))
    torch.testing.assert_close(still.detach(), torch.ones(2, 2), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"momentum": 1}, "momentum"), ({"trust_coefficient": 0}, "trust_coefficient 0")],
)
def test_options_out_of_range_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        LARS(weights(), lr=0.1, **options)
