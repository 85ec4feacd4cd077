"""The zoneout recurrence against a loop over single units, and its gradient."""

import math

import pytest
import torch

from fairseq_bas.nn.zoneout import zoneout_recurrence

T, B, H = 5, 3, 4


def inputs(dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(1)
    shapes = ((T, B, 4 * H), (4 * H, H), (B, H), (B, H))
    draws = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes)
    return [x.to(device, dtype).requires_grad_() for x in draws]


def masks(device="cpu"):
    generator = torch.Generator().manual_seed(2)
    return [(torch.rand(T, B, H, generator=generator) < 0.4).to(device) for _ in range(2)]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_units(gates_x, weight, h0, c0, keep_h, keep_c):
    """Compute every unit by itself with Python's numbers; ``keep_*`` give a share for (t, b, j)."""
    gates_x, weight, h, c = (x.tolist() for x in (gates_x, weight, h0, c0))
    output = []
    for t in range(T):
        old_h, old_c = [row[:] for row in h], [row[:] for row in c]
        for b in range(B):
            for j in range(H):
                i, f, g, o = (
                    gates_x[t][b][n * H + j]
                    + sum(weight[n * H + j][k] * old_h[b][k] for k in range(H))
                    for n in range(4)
                )
                candidate = sigmoid(f) * old_c[b][j] + sigmoid(i) * math.tanh(g)
                share_h, share_c = float(keep_h(t, b, j)), float(keep_c(t, b, j))
                c[b][j] = share_c * old_c[b][j] + (1 - share_c) * candidate
                new = sigmoid(o) * math.tanh(candidate)
                h[b][j] = share_h * old_h[b][j] + (1 - share_h) * new
        output.append([row[:] for row in h])
    return [torch.tensor(x, dtype=torch.float64) for x in (output, h, c)]


def plain(gates_x, weight, h, c, keep_h, keep_c):
    """Write the formulas with torch's operations and leave the gradient to autograd."""
    output = []
    for t in range(T):
        i, f, g, o = (gates_x[t] + h @ weight.t()).chunk(4, dim=-1)
        candidate = f.sigmoid() * c + i.sigmoid() * g.tanh()
        c = torch.where(keep_c[t], c, candidate)
        h = torch.where(keep_h[t], h, o.sigmoid() * candidate.tanh())
        output.append(h)
    return torch.stack(output), h, c


def test_masked_recurrence_equals_a_loop_over_units():
    keep_h, keep_c = masks()
    output, (h, c) = zoneout_recurrence(*inputs(), keep_h, keep_c)
    expected = by_units(*inputs(), lambda *at: keep_h[at], lambda *at: keep_c[at])
    for ours, truth in zip((output, h, c), expected, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-12)


def test_expectation_equals_a_loop_over_units():
    output, (h, c) = zoneout_recurrence(*inputs(), 0.1, 0.6)
    expected = by_units(*inputs(), lambda *at: 0.1, lambda *at: 0.6)
    for ours, truth in zip((output, h, c), expected, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-12)


def test_numbers_and_masks_of_one_state_go_together():
    padding = torch.rand(T, B, 1, generator=torch.Generator().manual_seed(3)) < 0.4
    output, (_, c) = zoneout_recurrence(*inputs(), padding, padding.double().clamp(min=0.5))
    expected = by_units(
        *inputs(),
        lambda t, b, j: padding[t, b, 0],
        lambda t, b, j: max(0.5, float(padding[t, b, 0])),
    )
    torch.testing.assert_close(output, expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(c, expected[2], rtol=1e-12, atol=1e-12)


def test_without_zoneout_equals_lstm_cell():
    gates_x, weight, h, c = inputs()
    cell = torch.nn.LSTMCell(4 * H, H, dtype=torch.float64)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.eye(4 * H))
        cell.weight_hh.copy_(weight)
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
    output, state = zoneout_recurrence(gates_x, weight, h, c)
    for t in range(T):
        h, c = cell(gates_x[t], (h, c))
        torch.testing.assert_close(output[t], h, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, (h, c), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("which", ["none", "share", "mask", "mixed"])
def test_gradient_equals_finite_differences(which):
    mask_h, mask_c = masks()
    keeps = {
        "none": (None, None),
        "share": (0.1, 0.6),
        "mask": (mask_h, mask_c),
        "mixed": (mask_h[..., :1], mask_c.double() * 0.7),
    }[which]

    def function(*args):
        output, state = zoneout_recurrence(*args, *keeps)
        return (output, *state)

    assert torch.autograd.gradcheck(function, inputs())


@pytest.mark.parametrize("steps", [T, 40])  # from 32 steps on weights are packed
def test_float32_gradient_equals_autograd(steps, monkeypatch):
    monkeypatch.setattr(f"{__name__}.T", steps)
    args, keeps = inputs(torch.float32), masks()
    truth = inputs()
    ours, expected = zoneout_recurrence(*args, *keeps), plain(*truth, *keeps)
    torch.testing.assert_close(ours[0].double(), expected[0], rtol=1e-5, atol=1e-5)
    (ours[0].sin().sum() + 2 * ours[1][1].sum()).backward()
    (expected[0].sin().sum() + 2 * expected[2].sum()).backward()
    for x, y in zip(args, truth, strict=True):
        torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_float64(dtype):
    args, keeps, truth = inputs(dtype), masks(), inputs()
    output, (_, c) = zoneout_recurrence(*args, *keeps)
    assert output.dtype == c.dtype == dtype
    expected = plain(*truth, *keeps)[0]
    torch.testing.assert_close(output.double(), expected, rtol=0.05, atol=0.02)
    output.sum().backward()
    expected.sum().backward()
    for x, y in zip(args, truth, strict=True):
        assert x.grad.dtype == dtype
        assert (x.grad.double() - y.grad).norm() < 0.03 * y.grad.norm()


def test_autocast_leaves_dtype_to_the_gates():
    gates_x, *rest = inputs(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = zoneout_recurrence(gates_x.bfloat16(), *rest, *masks())
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    assert rest[0].grad.dtype == torch.float32


def test_shapes_that_do_not_fit_are_refused():
    gates_x, weight, h, c = inputs()
    with pytest.raises(ValueError, match="give"):
        zoneout_recurrence(gates_x, weight.t(), h, c)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("compiled", [False, True])
def test_gpu_equals_cpu(compiled):
    args, truth = inputs(torch.float64, "cuda"), inputs()
    ours = zoneout_recurrence(*args, *masks("cuda"), compiled)
    expected = zoneout_recurrence(*truth, *masks())
    ours[0].sin().sum().backward()
    expected[0].sin().sum().backward()
    torch.testing.assert_close(ours[0].cpu(), expected[0])
    for x, y in zip(args, truth, strict=True):
        torch.testing.assert_close(x.grad.cpu(), y.grad)
