"""NovoGrad against the paper's equations in plain floats, and pytorch_optimizer."""

import math

import pytest
import torch

from fairseq_bas.optim.novograd import NovoGrad
from tests.layerwise_layers import (
    RATES,
    expect,
    expect_same_bits_after_resume,
    groups,
    run,
    weights,
)

BETAS, EPS = (0.8, 0.9), 1e-3


def reference(decay=0.0, include_vectors=False):
    """Return Algorithm 1 of arXiv 1905.11286 for one layer, started by its first gradient."""

    def of_layer(w, gradients, is_matrix):
        of_layer_decay = decay if is_matrix or include_vectors else 0.0
        m, v = [0.0] * len(w), 0.0
        for g, lr in zip(gradients, RATES, strict=True):
            if g is None:
                continue
            square = sum(x * x for x in g)
            v = BETAS[1] * v + (1 - BETAS[1]) * square if v > 0 else square
            for i in range(len(w)):
                scaled = g[i] / (math.sqrt(v) + EPS)
                m[i] = BETAS[0] * m[i] + scaled + of_layer_decay * w[i]
            w = [w[i] - lr * m[i] for i in range(len(w))]
        return w

    return of_layer


def novograd(params, **options):
    return NovoGrad(params, RATES[0], BETAS, EPS, **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("include_vectors", [False, True])
def test_equals_the_equations(dtype, decay, include_vectors):
    params = weights(dtype)
    optimizer = novograd(params, weight_decay=decay, include_vectors=include_vectors)
    expected = reference(decay, include_vectors)
    expect(params, optimizer, expected, tolerance=1e-11 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rows_are_layers(decay):
    params = weights()
    optimizer = novograd(groups(params, rowwise=True), weight_decay=decay)
    expect(params, optimizer, reference(decay), rowwise=True)


def test_resume_is_bit_equal(tmp_path):
    expect_same_bits_after_resume(lambda p: novograd(p, weight_decay=0.1), tmp_path)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_agrees_with_pytorch_optimizer(decay):
    """Agree with vectors decayed too, and decay inside the momentum (its default)."""
    package = pytest.importorskip("pytorch_optimizer")
    ours, theirs = weights(), weights()
    run(ours, novograd(ours, weight_decay=decay, include_vectors=True))
    run(theirs, package.NovoGrad(theirs, lr=1, betas=BETAS, eps=EPS, weight_decay=decay))
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_a_zero_gradient_leaves_alone_and_does_not_count_as_the_first():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = NovoGrad([weight], lr=0.1, eps=0.0)
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.ones(2, 2), rtol=0, atol=0)
    weight.grad = torch.full((2, 2), 7.0)
    optimizer.step()  # of length lr, as a first step is
    torch.testing.assert_close((1 - weight.detach()).norm(), torch.tensor(0.1))


def test_the_scale_of_a_gradient_does_not_matter():
    ours, theirs = weights(), weights()
    for params, factor in ((ours, 1.0), (theirs, 1000.0)):
        optimizer = NovoGrad(params, lr=0.01, eps=0.0)
        for step in range(5):
            for p in params:
                p.grad = factor * torch.sin(p.detach() + step)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="1 cannot"):
        NovoGrad(weights(), lr=0.1, betas=(1, 0.5))
