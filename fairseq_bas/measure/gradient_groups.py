"""Gather the gradients of micro-batches in groups, in the memory of one gradient a group.

Shapes: G groups, R copies, n parameters.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .grouped_moments import GroupedMoments
from .noise_scale import GradientMoments

_CHUNK = 1 << 20


class GradientGroups:
    """Add up micro-batch gradients by group.

    The sums are float32 beside the model (float64 for a model in that), so they take 4 G n bytes;
    norms and inner products are float64.

    Args:
        parameters: of the model; those without gradient are left out, tied ones count once.
        groups: G >= 1.
        replicas: R, copies of each micro-batch.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], groups: int, replicas: int = 1):
        self._parameters = [p for p in dict.fromkeys(parameters) if p.requires_grad]
        self._moments = [GradientMoments() for _ in range(groups)]
        self._sums = [[torch.zeros_like(p) for p in self._parameters] for _ in range(groups)]
        self._replicas = replicas

    def add(self, group: int, copies: Sequence[Sequence[Tensor]], tokens: float) -> None:
        """Take the gradients of one micro-batch.

        Args:
            group: which group it belongs to.
            copies: R gradients, each a tensor for every parameter: the sum over the micro-batch's
                tokens. They are changed: the first holds their mean afterwards.
            tokens: n_k > 0, what the gradients are to be divided by.
        """
        count, squares = len(copies), sum(_square(copy) for copy in copies)
        mean = list(copies[0])
        for total, *others in zip(*copies, strict=True):
            for other in others:
                total.add_(other)
            total.div_(count)
        square = _square(mean)
        within = None
        if count > 1:
            within = max(squares - count * square, 0.0) / (count - 1) / tokens
        for total, part in zip(self._sums[group], mean, strict=True):
            total.add_(part)
        self._moments[group] += GradientMoments(1, tokens, square / tokens, within)

    def merge(self, other: "GradientGroups") -> None:
        """Take over what another measurement gathered, group by group."""
        for group, moments in enumerate(other._moments):
            self._moments[group] += moments
            for total, part in zip(self._sums[group], other._sums[group], strict=True):
                total.add_(part)

    def moments(self) -> GroupedMoments:
        """Return the sums of each group and the inner products of the groups' gradients."""
        groups = len(self._sums)
        gram = np.zeros((groups, groups))
        for tensors in zip(*self._sums, strict=True):
            flat = [tensor.reshape(-1) for tensor in tensors]
            for start in range(0, flat[0].numel(), _CHUNK):
                rows = torch.stack([part[start : start + _CHUNK] for part in flat]).double()
                gram += (rows @ rows.T).cpu().numpy()
        return GroupedMoments(self._moments, gram, self._replicas)


def _square(gradient: Sequence[Tensor]) -> float:
    """Return the squared norm of a gradient that is one tensor a parameter."""
    squares = [torch.linalg.vector_norm(part, dtype=torch.float64).square() for part in gradient]
    return float(torch.stack(squares).sum()) if squares else 0.0
