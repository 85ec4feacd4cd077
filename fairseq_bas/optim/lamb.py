"""LAMB: Adam whose step is as long as each layer's weights (You et al. 2019, arXiv 1904.00962)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from .layerwise import Batch, LayerwiseOptimizer, moments
from .trust_ratio import norms, trust_ratios


class LAMB(LayerwiseOptimizer):
    r"""Scale Adam's step of each layer to the norm of its weights.

    With Adam's moments :math:`m_t, v_t` of the gradient and their bias corrected,

    .. math::

        u = \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon} + \lambda w,
        \qquad w \leftarrow w - \eta\,\frac{\lVert w\rVert}{\lVert u\rVert}\,u ,

    and ratio 1 where either norm is 0. That is the paper's Algorithm 2 with the identity for its
    bounds; nothing is clamped or clipped unless asked for. Without weight decay too there is a
    trust ratio. Biases and the gains of norms get plain Adam steps without weight decay.

    Row-wise, a row whose gradient is zero in this update has ratio 1: its update is what old
    moments have left, and scaling that up would push the vectors of absent words around at full
    speed.

    Args:
        params: parameters or groups of them, unflattened; a group may hold ``rowwise``.
        lr: learning rate, >= 0: about the relative change of a layer's weights in an update.
        betas: decay of the two moments, each in [0, 1).
        eps: added to the root of the second moment, >= 0.
        weight_decay: :math:`\lambda`, >= 0.
        trust_clip: largest trust ratio, > 0 (LAMBC: 1); None for no bound.
        include_vectors: treat biases and gains of norms like matrices.

    Raises:
        ValueError: if an option is out of its range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> optimizer = LAMB([weight], lr=0.1, eps=0.0)
        >>> weight.grad = torch.tensor([[1.0, -7.0]])  # Adam's first update is the sign
        >>> _ = optimizer.step()
        >>> round((weight.detach() - torch.tensor([[3.0, 4.0]])).norm().item(), 6)
        0.5
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        trust_clip: float | None = None,
        include_vectors: bool = False,
    ):
        if trust_clip is not None and not trust_clip > 0:
            raise ValueError(f"trust_clip {trust_clip} is not positive; pass 1 for LAMBC, or none")
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "trust_clip": trust_clip}, include_vectors)

    def _update(self, batch: Batch, group: dict[str, Any]) -> None:
        if not batch.adapted:
            _adam_step(batch.params, batch, group, group["lr"])
            return

        updates = [torch.zeros_like(p) for p in batch.params]
        _adam_step(updates, batch, group, -1.0)
        if group["weight_decay"] != 0:
            torch._foreach_add_(updates, batch.params, alpha=group["weight_decay"])
        weight_norms, update_norms = (norms(x, batch.rowwise) for x in (batch.params, updates))
        ratios = trust_ratios(weight_norms, update_norms, group["trust_clip"])
        seen = None
        if batch.rowwise:
            seen = [norm > 0 for norm in norms(batch.grads, rowwise=True)]
            ratios = [torch.where(s, ratio, 1.0) for s, ratio in zip(seen, ratios, strict=True)]
        torch._foreach_addcmul_(batch.params, updates, ratios, -group["lr"])
        self._record(batch, ratios, seen)


def _adam_step(params: list[Tensor], batch: Batch, group: dict[str, Any], lr: float) -> None:
    """Make torch's step of Adam on ``params``: the weights, or zeros that are to hold updates."""
    step = batch.states[0].get("step", 0)
    for state in batch.states:
        state["step"] = step + 1
    device = params[0].device
    adam(
        params,
        batch.grads,
        moments(batch, "exp_avg"),
        moments(batch, "exp_avg_sq"),
        max_exp_avg_sqs=[],
        state_steps=list(torch.full((len(params),), float(step), device=device).unbind()),
        fused=True if device.type in ("cpu", "cuda") else None,
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=lr,
        weight_decay=0.0,
        eps=group["eps"],
        maximize=False,
    )
