"""LARS: SGD whose step follows each layer's weights (You et al. 2017, arXiv 1708.03888)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .layerwise import Batch, LayerwiseOptimizer, moments
from .trust_ratio import jointly, norms


class LARS(LayerwiseOptimizer):
    r"""Scale the gradient of each layer to the norm of its weights, then apply momentum.

    .. math::

        \rho = \frac{c\,\lVert w\rVert}{\lVert g\rVert + \lambda \lVert w\rVert}, \qquad
        v \leftarrow \mu v + \eta\,\rho\,(g + \lambda w), \qquad w \leftarrow w - v ,

    and :math:`\rho = 1` where the norm of the weights or the denominator is 0. The learning rate
    is inside the momentum, as in the paper's Algorithm 1; libraries that apply it outside differ
    while it changes. Biases and the gains of norms get :math:`v \leftarrow \mu v + \eta g`.

    Row-wise, a row whose gradient is zero in this update keeps its momentum only: there is no step
    to scale, and the formula would shrink the vectors of absent words by :math:`\eta c`.

    Args:
        params: parameters or groups of them, unflattened; a group may hold ``rowwise``.
        lr: learning rate, >= 0; with c = 0.001 usually far above SGD's.
        momentum: :math:`\mu` in [0, 1).
        weight_decay: :math:`\lambda`, >= 0, inside the ratio.
        trust_coefficient: c > 0.
        include_vectors: treat biases and gains of norms like matrices.

    Raises:
        ValueError: if an option is out of its range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> optimizer = LARS([weight], lr=1.0, trust_coefficient=0.1)
        >>> weight.grad = torch.tensor([[0.0, 20.0]])
        >>> _ = optimizer.step()  # the step is a tenth of the weights' norm
        >>> weight.detach().tolist()
        [[3.0, 3.5]]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        include_vectors: bool = False,
    ):
        if not trust_coefficient > 0:
            raise ValueError(f"trust_coefficient {trust_coefficient} is not positive; pass 0.001")
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        defaults["trust_coefficient"] = trust_coefficient
        super().__init__(params, defaults, include_vectors)

    def _update(self, batch: Batch, group: dict[str, Any]) -> None:
        velocities = moments(batch, "momentum_buffer")
        torch._foreach_mul_(velocities, group["momentum"])
        if not batch.adapted:
            torch._foreach_add_(velocities, batch.grads, alpha=group["lr"])
            torch._foreach_sub_(batch.params, velocities)
            return

        gradient_norms = norms(batch.grads, batch.rowwise)
        ratios = self._ratios_of(norms(batch.params, batch.rowwise), gradient_norms, group)
        seen = None
        if batch.rowwise:
            seen = [norm > 0 for norm in gradient_norms]
            ratios = [ratio * s for ratio, s in zip(ratios, seen, strict=True)]
        gradients = batch.grads
        if group["weight_decay"] != 0:
            gradients = list(
                torch._foreach_add(gradients, batch.params, alpha=group["weight_decay"])
            )
        torch._foreach_addcmul_(velocities, gradients, ratios, group["lr"])
        torch._foreach_sub_(batch.params, velocities)
        self._record(batch, ratios, seen)

    @staticmethod
    def _ratios_of(
        weight_norms: list[Tensor], gradient_norms: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        decay, coefficient = group["weight_decay"], group["trust_coefficient"]

        def ratio(weight: Tensor, gradient: Tensor) -> Tensor:
            whole = gradient + decay * weight
            return torch.where((weight > 0) & (whole > 0), coefficient * weight / whole, 1.0)

        return jointly(ratio, weight_norms, gradient_norms)
