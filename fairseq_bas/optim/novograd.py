"""NovoGrad: momentum on gradients of unit length (Ginsburg et al. 2019, arXiv 1905.11286)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .layerwise import Batch, LayerwiseOptimizer, moments
from .trust_ratio import jointly, norms


class NovoGrad(LayerwiseOptimizer):
    r"""Divide each layer's gradient by a running norm of it, then apply momentum.

    .. math::

        v_t = \beta_2 v_{t-1} + (1 - \beta_2) \lVert g_t\rVert^2, \qquad
        m_t = \beta_1 m_{t-1} + \frac{g_t}{\sqrt{v_t} + \epsilon} + \lambda w_{t-1}, \qquad
        w_t = w_{t-1} - \eta\, m_t ,

    with one number :math:`v` a layer, which starts as the :math:`\lVert g\rVert^2` of the layer's
    first gradient that is not zero. That is the paper's Algorithm 1, with :math:`\epsilon` in the
    first update too. Every tensor is a layer in it, vectors included; biases and the gains of
    norms have no weight decay here. State is half that of Adam.

    Args:
        params: parameters or groups of them, unflattened; a group may hold ``rowwise``.
        lr: learning rate, >= 0.
        betas: decay of momentum and of the norm, each in [0, 1).
        eps: added to the root of v, >= 0.
        weight_decay: :math:`\lambda`, >= 0.
        include_vectors: decay biases and gains of norms too.

    Raises:
        ValueError: if an option is out of its range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([[1.0, 1.0]]))
        >>> optimizer = NovoGrad([weight], lr=0.5, eps=0.0)
        >>> weight.grad = torch.tensor([[0.0, 8.0]])
        >>> _ = optimizer.step()  # the first step has length lr
        >>> weight.detach().tolist()
        [[1.0, 0.5]]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        include_vectors: bool = False,
    ):
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults, include_vectors)

    def _update(self, batch: Batch, group: dict[str, Any]) -> None:
        beta1, _ = group["betas"]
        gradient_norms = norms(batch.grads, batch.rowwise)
        scales = self._scales(batch, gradient_norms, group)
        means = moments(batch, "exp_avg")
        torch._foreach_mul_(means, beta1)
        torch._foreach_addcmul_(means, batch.grads, scales)
        if batch.adapted and group["weight_decay"] != 0:
            torch._foreach_add_(means, batch.params, alpha=group["weight_decay"])
        torch._foreach_add_(batch.params, means, alpha=-group["lr"])
        if batch.adapted:
            seen = [norm > 0 for norm in gradient_norms] if batch.rowwise else None
            self._record(batch, scales, seen)

    @staticmethod
    def _scales(batch: Batch, gradient_norms: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Bring v up to date and return what the gradients are multiplied by."""
        beta2, eps = group["betas"][1], group["eps"]
        for norm, state in zip(gradient_norms, batch.states, strict=True):
            state.setdefault("norm_sq", torch.zeros_like(norm))
        before = [state["norm_sq"] for state in batch.states]

        def mean_square(before: Tensor, norm: Tensor) -> Tensor:
            square = norm * norm
            return torch.where(before > 0, torch.lerp(square, before, beta2), square)

        def inverse_root(square: Tensor) -> Tensor:
            return torch.where(square > 0, 1 / (square.sqrt() + eps), 0.0)

        after = jointly(mean_square, before, gradient_norms)
        torch._foreach_copy_(before, after)
        return jointly(inverse_root, after)
