"""Products of the Hessian of a loss surface with vectors, without the Hessian.

With f the mean loss, g its gradient and H its Hessian, n x n, of which only H v is computed:

- ``double``: H v = d (g . v) / d w, by differentiating the gradient (Pearlmutter 1994). Exact.
- ``difference``: H v ~ (g(w + h v) - g(w - h v)) / 2h. Needs gradients alone, so it works with
  every kernel; the error is of order h^2, and rounding is divided by h.
- ``gauss-newton``: J^T (diag(p) - p p^T) J v / N, with J the Jacobian of the logits and p their
  softmax. It leaves out the curvature of the network itself, so it has no negative eigenvalue; for
  cross-entropy it is the Fisher matrix.

Shapes: n parameters, K tokens of a micro-batch, V vocabulary.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .kernels import plain_kernels, trainable_recurrence
from .lanczos import Product
from .loss_surface import LossSurface
from .twice_differentiable import NotTwiceDifferentiable, require_twice_differentiable

logger = logging.getLogger(__name__)

METHODS = ("double", "difference", "gauss-newton")


def hessian_product(surface: LossSurface, method: str = "double") -> Product:
    """Return v -> H v at the surface's point of the moment of the call.

    Args:
        surface: the loss.
        method: one of ``METHODS``.

    Returns:
        A function of a vector (n,) of any floating type and device, which returns (n,) in the type
        and on the device of the parameters. It leaves parameters and their ``.grad`` bit-equal.
        By ``double`` it raises `NotTwiceDifferentiable` where that would be wrong.

    Raises:
        ValueError: if the method is unknown, or is ``gauss-newton`` on a surface without logits.

    >>> from torch import nn
    >>> model = nn.Linear(2, 1, bias=False).double().eval()
    >>> x = torch.tensor([[1.0, 2.0]]).double()
    >>> surface = LossSurface(model, [x], lambda model, x: 0.5 * model(x).square().sum(), 1.0)
    >>> hessian_product(surface)(torch.tensor([1.0, 0.0])).tolist()
    [1.0, 2.0]
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is no way to multiply by a Hessian; use {', '.join(METHODS)}")
    if method == "difference":
        return lambda vector: _by_difference(surface, vector)
    if method == "double":
        return lambda vector: _summed(surface, _double_backward, vector)
    if surface.outputs_of is None:
        raise ValueError(
            "the Gauss-Newton matrix needs the logits of the model, and this surface has the loss "
            "alone; give it outputs_of"
        )
    exact = why_not_double(surface) is None
    part = _gauss_newton if exact else _gauss_newton_by_difference
    return lambda vector: _summed(surface, part, vector)


def choose_method(surface: LossSurface) -> str:
    """Return ``double`` where it works, else ``difference``; tries it on one micro-batch."""
    reason = why_not_double(surface)
    if reason is not None:
        logger.info(f"Hessian products by differences of gradients: {reason}")
    return "double" if reason is None else "difference"


def why_not_double(surface: LossSurface) -> str | None:
    """Return why the model's loss cannot be differentiated twice, or None if it can.

    Tried on the first micro-batch.
    """
    try:
        _double_backward(surface, surface.batches[0], surface.zeros() + 1, surface.zeros())
    except NotTwiceDifferentiable as error:
        return error.reason
    except RuntimeError as error:
        return next(iter(str(error).strip().splitlines()), type(error).__name__)
    return None


def relative_step(dtype: torch.dtype) -> float:
    """Return the cube root of the rounding unit, which balances the two errors of a difference.

    >>> f"{relative_step(torch.float32):.4f}"
    '0.0049'
    """
    return float(torch.finfo(dtype).eps) ** (1 / 3)


Part = Callable[[LossSurface, Any, Tensor, Tensor], None]
"""(surface, micro-batch, v (n,), total (n,)): add the product of the summed loss to ``total``."""


def _summed(surface: LossSurface, part: Part, vector: Tensor) -> Tensor:
    """Return the mean Hessian times v, micro-batch by micro-batch."""
    vector, total = vector.to(surface.device, surface.dtype), surface.zeros()
    for batch in surface.batches:
        part(surface, batch, vector, total)
    return total.div_(surface.weight)


def _double_backward(surface: LossSurface, batch: Any, vector: Tensor, total: Tensor) -> None:
    with torch.enable_grad(), plain_kernels():
        loss = surface.loss_of(surface.model, batch)
        require_twice_differentiable(loss)
        gradients = _gradients_with_graph(surface, loss)
        slope = sum(
            (gradient * part).sum()
            for gradient, part in zip(gradients, surface.split(vector), strict=True)
            if gradient is not None
        )
        if isinstance(slope, Tensor):  # else no parameter is used
            surface.add_gradient(total, slope)


def _by_difference(surface: LossSurface, vector: Tensor) -> Tensor:
    vector = vector.to(surface.device, surface.dtype)
    step = _step(surface, vector)
    if step == 0:
        return surface.zeros()
    here = surface.point()
    with surface.moved(here):
        surface.move_to(here + step * vector)
        product = surface.gradient()
        surface.move_to(here - step * vector)
        product -= surface.gradient()
    return product.div_(2 * step)


def _step(surface: LossSurface, vector: Tensor) -> float:
    """Return h = eps^(1/3) * (1 + ||w||) / ||v||; 0 for v = 0."""
    length = float(vector.double().norm())
    if length == 0:
        return 0.0
    return relative_step(surface.dtype) * (1 + float(surface.point().double().norm())) / length


def _gauss_newton(surface: LossSurface, batch: Any, vector: Tensor, total: Tensor) -> None:
    """Add J^T H J v, with J v by differentiating J^T u, linear in u, in u."""
    with torch.enable_grad(), plain_kernels():
        logits = _logits(surface, batch)
        require_twice_differentiable(logits)
        dummy = torch.zeros_like(logits, requires_grad=True)
        pulled = _gradients_with_graph(surface, logits, dummy)
        slope = sum(
            (gradient * part).sum()
            for gradient, part in zip(pulled, surface.split(vector), strict=True)
            if gradient is not None
        )
        if isinstance(slope, Tensor) and slope.requires_grad:
            (pushed,) = torch.autograd.grad(slope, dummy, retain_graph=True)
            surface.add_gradient(total, logits, _softmax_hessian(logits.detach(), pushed))


def _gauss_newton_by_difference(
    surface: LossSurface, batch: Any, vector: Tensor, total: Tensor
) -> None:
    """Add J^T H J v, with J v by central differences of the logits."""
    step = _step(surface, vector)
    if step == 0:
        return
    here = surface.point()
    with torch.no_grad(), surface.moved(here):
        surface.move_to(here + step * vector)
        pushed = _logits(surface, batch)
        surface.move_to(here - step * vector)
        pushed = (pushed - _logits(surface, batch)) / (2 * step)
    with torch.enable_grad(), trainable_recurrence(surface.model):
        logits = _logits(surface, batch)
        surface.add_gradient(total, logits, _softmax_hessian(logits.detach(), pushed))


def _softmax_hessian(logits: Tensor, vectors: Tensor) -> Tensor:
    """Return the Hessian of summed cross-entropies in the logits times vectors, (K, V).

    Row by row (diag(p) - p p^T) u, whatever the targets, smoothed ones too.

    >>> _softmax_hessian(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).tolist()
    [[0.25, -0.25]]
    """
    shares = logits.softmax(dim=-1)
    weighted = shares * vectors
    return weighted - shares * weighted.sum(dim=-1, keepdim=True)


def _logits(surface: LossSurface, batch: Any) -> Tensor:
    if surface.outputs_of is None:
        raise ValueError("this surface has no logits; give it outputs_of")
    return surface.outputs_of(surface.model, batch)


def _gradients_with_graph(
    surface: LossSurface, output: Tensor, grad_output: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(
        output, surface.parameters, grad_output, create_graph=True, allow_unused=True
    )
