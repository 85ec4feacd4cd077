"""AR and TAR against sums written out."""

import pytest
import torch

from fairseq_bas.nn.activation_penalty import activation_penalty

T, B, H = 4, 3, 2


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(T, B, H, generator=generator).to(dtype) for _ in range(2)]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def by_elements(dropped, raw, ar, tar, keep):
    cells = [(b, j) for b in range(B) for j in range(H)]
    size = mean(float(dropped[t, b, j]) ** 2 for t in range(T) for b, j in cells if keep[t, b])
    change = mean(
        float(raw[t + 1, b, j] - raw[t, b, j]) ** 2
        for t in range(T - 1)
        for b, j in cells
        if keep[t, b] and keep[t + 1, b]
    )
    return ar * size + tar * change


def test_means_are_over_all_elements():
    dropped, raw = tensors()
    expected = by_elements(dropped, raw, 2.0, 0.5, torch.ones(T, B))
    assert activation_penalty(dropped, raw, 2.0, 0.5).item() == pytest.approx(expected, rel=1e-6)


def test_padded_steps_and_pairs_with_one_do_not_count():
    dropped, raw = tensors()
    keep = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 1, 1]], dtype=torch.bool)
    expected = by_elements(dropped, raw, 2.0, 0.5, keep)
    dropped[~keep], raw[~keep] = float("inf"), float("inf")
    ours = activation_penalty(dropped, raw, 2.0, 0.5, keep)
    assert ours.item() == pytest.approx(expected, rel=1e-6)


def test_gradient_is_the_derivative():
    dropped, raw = (x.requires_grad_() for x in tensors())
    keep = torch.rand(T, B) < 0.7

    def function(dropped, raw):
        return activation_penalty(dropped, raw, 2.0, 1.0, keep)

    assert torch.autograd.gradcheck(function, (dropped, raw))


def test_nothing_to_average_is_zero():
    x = torch.ones(1, 2, 3)
    assert activation_penalty(x, x, 0.0, 1.0).item() == 0  # no pair of steps
    keep = torch.zeros(1, 2, dtype=torch.bool)
    assert activation_penalty(x, x, 1.0, 1.0, keep).item() == 0


def test_half_precision_is_averaged_in_float32():
    x = torch.full((70, 20, 50), 100.0, dtype=torch.float16)
    assert activation_penalty(x, x, 1.0, 0.0).item() == pytest.approx(1e4)
