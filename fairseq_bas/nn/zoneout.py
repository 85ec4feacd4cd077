"""The recurrence of a zoneout LSTM, with a backward pass derived by hand.

With a[t] = gates_x[t] + h[t-1] @ weight_hh.T, split into i, f, g, o along the last dimension:

    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)      g = tanh(a_g)
    e[t] = f * c[t-1] + i * g                               the cell without zoneout
    c[t] = keep_c * c[t-1] + (1 - keep_c) * e[t]
    h[t] = keep_h * h[t-1] + (1 - keep_h) * o * tanh(e[t])

Source: Krueger et al. 2017 (h reads e[t], not c[t]). The fused kernels of torch have no zoneout;
autograd over a loop would keep a dozen tensors a step and form dW step by step.

Shapes: T time steps, B rows, H hidden; gates 4H wide, in the order i, f, g, o.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .fast_product import RepeatedProduct, product
from .wide_product import wide_type
from .zoneout_step import Keep, as_share, backward_factors, share_at, step_backward, step_forward


def zoneout_recurrence(
    gates_x: Tensor,
    weight_hh: Tensor,
    h0: Tensor,
    c0: Tensor,
    keep_h: Keep = None,
    keep_c: Keep = None,
    compiled: bool = False,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run an LSTM with zoneout over time.

    Matrix products are in the dtype of ``gates_x``, cells in at least float32.

    Args:
        gates_x: (T, B, 4H) floating point, T >= 1: input projections and both biases.
        weight_hh: (4H, H).
        h0: (B, H), the hidden state before the first step.
        c0: (B, H), the cell before the first step.
        keep_h: what stays of the hidden state.
        keep_c: what stays of the cell.
        compiled: run ``torch.compile`` on the steps. That takes seconds and on a CPU saves nothing;
            it is meant for a GPU, which waits for many small kernels.

    Returns:
        Hidden states (T, B, H); and the last hidden state and cell, (B, H) each. All in the dtype
        of ``gates_x``, differentiable once.

    Raises:
        ValueError: if shapes do not fit.

    >>> gates, weight, state = torch.zeros(2, 1, 4), torch.zeros(4, 1), torch.ones(1, 1)
    >>> output, (h, c) = zoneout_recurrence(gates, weight, state, state, keep_h=0.0, keep_c=1.0)
    >>> c.item(), round(output[0].item(), 4) == round(0.5 * torch.tanh(0.5 * c).item(), 4)
    (1.0, True)
    """
    steps, rows, width = gates_x.shape
    expected = ((width, width // 4), (rows, width // 4), (rows, width // 4))
    shapes = tuple(tuple(x.shape) for x in (weight_hh, h0, c0))
    if width % 4 or shapes != expected or not steps:
        raise ValueError(
            f"weight_hh, h0 and c0 are {shapes} for gates_x {tuple(gates_x.shape)}; give {expected}"
        )
    dtype = gates_x.dtype
    with torch.autocast(gates_x.device.type, enabled=False):
        output, cell = _ZoneoutRecurrence.apply(
            gates_x,
            weight_hh.to(dtype),
            h0.to(dtype),
            c0.to(wide_type(dtype)),
            keep_h,
            keep_c,
            compiled,
        )
    return output, (output[-1], cell.to(dtype))


class _ZoneoutRecurrence(torch.autograd.Function):
    """Keep gates and states, (T, B, 6H) in all, and derive the rest again for all steps at once."""

    @staticmethod
    def forward(
        ctx: Any,
        gates_x: Tensor,
        weight_hh: Tensor,
        h0: Tensor,
        c0: Tensor,
        keep_h: Keep,
        keep_c: Keep,
        compiled: bool,
    ) -> tuple[Tensor, Tensor]:
        steps = len(gates_x)
        gates = torch.empty_like(gates_x, memory_format=torch.contiguous_format)
        hidden = h0.new_empty(steps, *h0.shape)
        cells = c0.new_empty(steps, *c0.shape)
        recurrent, candidate = RepeatedProduct(weight_hh.t(), len(h0), steps), torch.empty_like(c0)
        share_h, share_c = as_share(keep_h, h0.dtype), as_share(keep_c, c0.dtype)
        step = _compiled(step_forward) if compiled else step_forward
        h, c = h0, c0
        for t in range(steps):
            torch.add(gates_x[t], recurrent(h), out=gates[t])
            now_h, now_c = share_at(share_h, t), share_at(share_c, t)
            step(gates[t], h, c, now_h, now_c, candidate, hidden[t], cells[t])
            h, c = hidden[t], cells[t]
        ctx.compiled = compiled
        ctx.numbers = [None if isinstance(keep, Tensor) else keep for keep in (keep_h, keep_c)]
        masks = [keep if isinstance(keep, Tensor) else None for keep in (keep_h, keep_c)]
        ctx.save_for_backward(gates, weight_hh, h0, c0, hidden, cells, *masks)
        return hidden, cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_hidden: Tensor, grad_cell: Tensor) -> tuple[Tensor | None, ...]:
        gates, weight_hh, h0, c0, hidden, cells, *masks = ctx.saved_tensors
        share_h, share_c = (
            number if mask is None else as_share(mask, state.dtype)
            for number, mask, state in zip(ctx.numbers, masks, (h0, c0), strict=True)
        )
        grad_gates, through_h = backward_factors(gates, torch.cat([c0[None], cells[:-1]]), share_h)
        forget = gates.chunk(4, dim=-1)[1]
        recurrent = RepeatedProduct(weight_hh, len(h0), len(gates))
        step = _compiled(step_backward) if ctx.compiled else step_backward
        grad_h, grad_c = torch.zeros_like(h0), grad_cell
        for t in reversed(range(len(gates))):
            carried, grad_c = step(
                grad_h.add_(grad_hidden[t]),
                grad_c,
                grad_gates[t],
                through_h[t],
                forget[t],
                share_at(share_h, t),
                share_at(share_c, t),
            )
            grad_h = recurrent(grad_gates[t])
            if carried is not None:
                grad_h.add_(carried)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            before = torch.cat([h0[None], hidden[:-1]])
            grad_weight = product(grad_gates.flatten(0, 1).t(), before.flatten(0, 1))
        return grad_gates, grad_weight, grad_h, grad_c, None, None, None


@cache
def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(step, fullgraph=True)
