"""A user-dir: fairseq_bas with weights, gradients and their sums in float64.

Training magnifies what rounding does to a sum taken in another order, until nobody can tell it from
a small error. In float64 roundings stay far below 1e-5 for some hundred updates, so what two runs
differ by then is an error.
"""

from collections.abc import Callable, Iterable

import fairseq.utils
import torch
from torch import Tensor, nn

import fairseq_bas  # noqa: F401  (registers with fairseq)


def clip_grad_norm(
    parameters: Iterable[Tensor], max_norm: float, aggregate_norm_fn: Callable | None = None
) -> Tensor:
    """Clip gradients by their norm over all parameters, as fairseq does, which asks for float32."""
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    if aggregate_norm_fn is not None:
        norm = aggregate_norm_fn(norm)
    if max_norm > 0:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


torch.set_default_dtype(torch.float64)
fairseq.utils.clip_grad_norm_ = clip_grad_norm
