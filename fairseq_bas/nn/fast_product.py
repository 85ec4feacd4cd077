"""Matrix products in float32 on a CPU, by oneDNN where that is faster.

torch hands such products to MKL, which on processors with AVX-512 that are not of Intel's make runs
at about half the speed of oneDNN; where there is AVX2 only, it is the faster one. The processor
decides and not a measurement, so that a machine always computes the same bits. On other devices and
in other types these functions are torch's own products.

Shapes: N rows, I inputs, O outputs.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

WORTH_PACKING = 32
"""Products from which on packing the weights is paid back."""


@cache
def _is_onednn_faster() -> bool:
    has_it = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return has_it and torch.backends.cpu.get_cpu_capability() == "AVX512"


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply two matrices, outside autograd.

    Args:
        left: (N, I).
        right: (I, O), dtype of ``left``.
        bias: (O,), added to every row; None for none.

    Returns:
        ``left @ right + bias``, (N, O), without gradient.

    >>> product(torch.ones(1, 2), torch.tensor([[1.0], [2.0]])).item()
    3.0
    """
    if multiplies_by_onednn(left):
        weight = right.t()
        if not (weight.is_contiguous() or right.is_contiguous()):
            weight = weight.contiguous()  # oneDNN takes a thousand times as long with columns apart
        return torch.ops.mkldnn._linear_pointwise(left, weight, bias, "none", [], "")
    result = left @ right
    return result if bias is None else result.add_(bias)


class RepeatedProduct:
    """Multiply many matrices by the same one, outside autograd.

    Args:
        right: (I, O); must not change meanwhile.
        rows: N, the rows of each matrix.
        times: how many there are.

    >>> RepeatedProduct(torch.eye(2), rows=1, times=2)(torch.ones(1, 2)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, right: Tensor, rows: int, times: int):
        self.right = right
        self.weight: Tensor | None = None
        if multiplies_by_onednn(right):
            self.weight = right.t()
            if times >= WORTH_PACKING and self.weight.is_contiguous():
                self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, rows)

    def __call__(self, left: Tensor) -> Tensor:
        """Return ``left @ right``, (N, O), for ``left`` (N, I)."""
        if self.weight is None:
            return left @ self.right
        return torch.ops.mkldnn._linear_pointwise(left, self.weight, None, "none", [], "")


def fast_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute ``torch.nn.functional.linear``.

    Args:
        x: (..., I).
        weight: (O, I).
        bias: (O,).

    Returns:
        (..., O); where oneDNN computes it, differentiable once.

    >>> fast_linear(torch.ones(1, 2), torch.ones(3, 2), torch.zeros(3)).tolist()
    [[2.0, 2.0, 2.0]]
    """
    if torch.is_autocast_enabled(x.device.type) or not multiplies_by_onednn(x):
        return F.linear(x, weight, bias)
    return _Linear.apply(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])


def multiplies_by_onednn(x: Tensor) -> bool:
    """Tell whether products of this matrix are oneDNN's.

    >>> multiplies_by_onednn(torch.ones(1, 1, dtype=torch.float64))
    False
    """
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() > 0
        and bool(torch.backends.mkldnn.enabled)
        and _is_onednn_faster()
    )


class _Linear(torch.autograd.Function):
    """A linear map whose three products are oneDNN's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grad, weight) if of_x else None,
            product(grad.t(), x) if of_weight else None,
            grad.sum(dim=0) if of_bias else None,
        )
