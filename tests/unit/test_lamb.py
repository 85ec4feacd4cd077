"""LAMB against the paper's equations in plain floats, torch's Adam and pytorch_optimizer."""

import math

import pytest
import torch

from fairseq_bas.optim.lamb import LAMB
from tests.layerwise_layers import (
    RATES,
    expect,
    expect_same_bits_after_resume,
    groups,
    run,
    weights,
)

BETAS, EPS = (0.8, 0.95), 1e-3


def norm(values):
    return math.sqrt(sum(value * value for value in values))


def reference(decay=0.0, clip=None, include_vectors=False, rowwise=False):
    """Return Algorithm 2 of arXiv 1904.00962 for one layer."""

    def of_layer(w, gradients, is_matrix):
        adapted = is_matrix or include_vectors
        m, v, t = [0.0] * len(w), [0.0] * len(w), 0
        for g, lr in zip(gradients, RATES, strict=True):
            if g is None:
                continue
            t, u = t + 1, []
            for i in range(len(w)):
                m[i] = BETAS[0] * m[i] + (1 - BETAS[0]) * g[i]
                v[i] = BETAS[1] * v[i] + (1 - BETAS[1]) * g[i] * g[i]
                r = m[i] / (1 - BETAS[0] ** t)
                r /= math.sqrt(v[i] / (1 - BETAS[1] ** t)) + EPS
                u.append(r + decay * w[i] if adapted else r)
            ratio = 1.0
            if adapted and norm(w) > 0 and norm(u) > 0 and not (rowwise and norm(g) == 0):
                ratio = min(norm(w) / norm(u), clip or math.inf)
            w = [w[i] - lr * ratio * u[i] for i in range(len(w))]
        return w

    return of_layer


def lamb(params, **options):
    return LAMB(params, lr=RATES[0], betas=BETAS, eps=EPS, **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("clip", [None, 0.9])
@pytest.mark.parametrize("include_vectors", [False, True])
def test_equals_the_equations(dtype, decay, clip, include_vectors):
    params = weights(dtype)
    optimizer = lamb(params, weight_decay=decay, trust_clip=clip, include_vectors=include_vectors)
    expected = reference(decay, clip, include_vectors)
    expect(params, optimizer, expected, tolerance=1e-11 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rows_are_layers_and_absent_rows_are_not_scaled_up(decay):
    params = weights()
    optimizer = lamb(groups(params, rowwise=True), weight_decay=decay)

    def expected(w, gradients, is_matrix):
        is_row = len(w) == 2
        return reference(decay, rowwise=is_row)(w, gradients, is_matrix)

    expect(params, optimizer, expected, rowwise=True)


def test_resume_is_bit_equal(tmp_path):
    expect_same_bits_after_resume(lambda p: lamb(p, weight_decay=0.1), tmp_path)


def test_vectors_get_steps_of_adam():
    ours, theirs = ([p for p in weights() if p.ndim == 1] for _ in range(2))
    adam = torch.optim.Adam(theirs, lr=0.01, betas=BETAS, eps=EPS)
    for optimizer, params in ((LAMB(ours, 0.01, BETAS, EPS, 0.1), ours), (adam, theirs)):
        for step in range(20):
            for p in params:
                p.grad = torch.cos(p.detach() + step)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_agrees_with_pytorch_optimizer():
    """Agree where eps and the decay vanish: biases, which it leaves in, then cancel.

    Without ``adam_debias`` it divides the learning rate by the bias, outside the ratio.
    """
    package = pytest.importorskip("pytorch_optimizer")
    ours, theirs = weights(), weights()
    options = {"lr": RATES[0], "betas": BETAS, "eps": 1e-30, "weight_decay": 0.0}
    run(ours, LAMB(ours, include_vectors=True, **options))
    run(theirs, package.Lamb(theirs, weight_decouple=False, adam_debias=True, **options))
    assert all(p.norm() < 10 for p in ours)  # above, it clamps the norm
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_zero_weights_move_at_the_learning_rate_and_zero_gradients_leave_alone():
    zero, still = (torch.nn.Parameter(x) for x in (torch.zeros(2, 2), torch.ones(2, 2)))
    zero.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    optimizer = LAMB([zero, still], lr=0.1, eps=0.001)
    optimizer.step()
    torch.testing.assert_close(zero.detach(), torch.full((2, 2), -0.1 / 1.001))
    torch.testing.assert_close(still.detach(), torch.ones(2, 2), rtol=0, atol=0)
    assert [ratio.item() for ratio in optimizer.ratios().values()] == [1, 1]


def test_large_norms_are_not_clamped():
    """Adam's first update is the sign of the gradient: the step is lr times the weights' norm."""
    weight = torch.nn.Parameter(torch.full((100, 100), 3.0))
    weight.grad = torch.full((100, 100), -1e-3)
    optimizer = LAMB([weight], lr=0.5, eps=0.0)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((100, 100), 4.5))
    assert optimizer.ratios()[weight].item() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"lr": -1}, "lr -1"),
        ({"betas": (0.9, 1.0)}, "1.0"),
        ({"eps": -1e-6}, "eps"),
        ({"weight_decay": float("nan")}, "weight_decay"),
        ({"trust_clip": 0}, "trust_clip 0"),
    ],
)
def test_options_out_of_range_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        LAMB(weights(), **{"lr": 0.1, **options})
