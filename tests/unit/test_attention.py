"""Attention against a loop over rows, decoder steps and source positions."""

import math

import pytest
import torch

from fairseq_bas.nn.attention import GeneralAttention, attend

T, S, R, H, C = 4, 5, 3, 6, 7
LENGTHS = (5, 2, 1)


def inputs(dtype=torch.float64, scale=1.0):
    torch.manual_seed(1)
    query, memory = torch.randn(T, R, C).to(dtype) * scale, torch.randn(S, R, C).to(dtype) * scale
    padding = torch.ones(S, R, dtype=torch.bool)
    for row, length in enumerate(LENGTHS):  # padding on the left, on the right, on both sides
        start = (0, 3, 2)[row]
        padding[start : start + length, row] = False
    return query, memory, padding


def loop(query, memory, padding):
    """Return context and weights as lists, computed number by number."""
    context, weights = torch.zeros(T, R, C).double(), torch.zeros(R, T, S).double()
    for t in range(T):
        for r in range(R):
            places = [s for s in range(S) if not padding[s, r]]
            scores = [
                sum(float(a) * float(b) for a, b in zip(query[t, r], memory[s, r], strict=True))
                for s in places
            ]
            total = sum(math.exp(score) for score in scores)
            for s, score in zip(places, scores, strict=True):
                weights[r, t, s] = math.exp(score) / total
                context[t, r] += weights[r, t, s] * memory[s, r].double()
    return context, weights


def test_equals_a_loop():
    query, memory, padding = inputs()
    for mask in (padding, torch.zeros_like(padding)):
        expected = loop(query, memory, mask)
        ours = attend(query, memory, mask if mask.any() else None)
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_padding_gets_no_weight_and_no_gradient():
    query, memory, padding = inputs()
    memory.requires_grad_()
    context, weights = attend(query, memory, padding)
    context.sin().sum().backward()
    assert (weights.transpose(1, 2)[padding.t()] == 0).all()
    assert (memory.grad[padding] == 0).all() and memory.grad[~padding].all()


def test_a_row_of_padding_alone_is_finite():
    query, memory, padding = inputs()
    padding[:, 1] = True
    context, weights = attend(query, memory, padding)
    assert context.isfinite().all()
    torch.testing.assert_close(weights[1], torch.full((T, S), 1 / S).double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_softmax_of_half_precision_is_in_float32(dtype):
    """Weights come from the rounded scores without more rounding."""
    query, memory, padding = inputs(dtype)
    _, weights = attend(query, memory, padding)
    scores = torch.bmm(query.transpose(0, 1), memory.permute(1, 2, 0)).double()
    scores = scores.masked_fill(padding.t().unsqueeze(1), -math.inf)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.double(), scores.softmax(-1), rtol=1e-5, atol=1e-7)


def test_general_score_is_the_bilinear_form():
    torch.manual_seed(2)
    attention = GeneralAttention(H, C).double()
    _, memory, padding = inputs()
    query = torch.randn(T, R, H).double()
    scores = torch.einsum("src,ch,trh->rts", memory, attention.projection.weight, query)
    expected = scores.masked_fill(padding.t().unsqueeze(1), -math.inf).softmax(-1)
    context, weights = attention(query, memory, padding)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(context, torch.einsum("rts,src->trc", expected, memory))
