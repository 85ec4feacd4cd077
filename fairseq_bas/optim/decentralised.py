r"""Momentum SGD whose workers average with neighbours only: DecentLaM, DmSGD, and all-reduce.

Worker i has its own weights :math:`x_i` and the gradient :math:`g_i` of its own data there; W is
the matrix of `topology`, :math:`\eta` the learning rate, :math:`\beta` the momentum. Where nothing
moves any more, weights solve the fixed point of plain decentralised SGD, :math:`x = W(x - \eta g)`,
with the true :math:`\eta` for DecentLaM, but with :math:`\eta / (1 - \beta)` for DmSGD: its squared
distance to the solution of all-reduce is :math:`1/(1-\beta)^2` times as large (25 at 0.8, 100 at
0.9). Yuan et al. 2021, arXiv 2104.11981.

Every function works in place, on the weights of one worker (P,) or of all of them (n, P);
``mix`` gives what a worker gets of its neighbours, :math:`v_i \mapsto \sum_j w_{ij} v_j`.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Mix = Callable[[Tensor], Tensor]


class Rule(Protocol):
    """Name what an update needs; all tensors have one shape."""

    def __call__(
        self,
        weights: Tensor,
        gradient: Tensor,
        velocity: Tensor,
        lr: float,
        momentum: float,
        mix: Mix,
    ) -> None:
        """Change ``weights`` and ``velocity`` in place."""
        ...


def decentlam(
    weights: Tensor, gradient: Tensor, velocity: Tensor, lr: float, momentum: float, mix: Mix
) -> None:
    r"""Make an update of DecentLaM.

    :math:`v_i \leftarrow \beta v_i + x_i - \sum_j w_{ij}(x_j - \eta g_j)`, then
    :math:`x_i \leftarrow x_i - v_i`. The paper keeps :math:`m = v / \eta`, which is the same while
    the learning rate is constant. In units of weights the pull towards neighbours that v remembers
    does not scale with the learning rate: a rate of 0 needs no division, and rates that go up and
    down from update to update do not drive workers apart, as they do in the paper's units.

    Args:
        weights: x, float32 or float64.
        gradient: g, like ``weights``.
        velocity: v, like ``weights``; zeros at first.
        lr: :math:`\eta` >= 0.
        momentum: :math:`\beta`, in [0, 1).
        mix: average with neighbours; called once.

    Example:
        >>> x, v = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
        >>> decentlam(x, torch.tensor([[1.0], [1.0]]), v, 0.5, 0.9, lambda z: z.mean(0, True))
        >>> x.tolist(), v.tolist()
        ([[1.5], [1.5]], [[-0.5], [1.5]])
    """
    velocity.mul_(momentum).add_(weights).sub_(mix(torch.add(weights, gradient, alpha=-lr)))
    weights.sub_(velocity)


def dmsgd(
    weights: Tensor, gradient: Tensor, velocity: Tensor, lr: float, momentum: float, mix: Mix
) -> None:
    r"""Make an update of DmSGD: a local momentum step, then the average with neighbours.

    :math:`m_i \leftarrow \beta m_i + g_i`, :math:`x_i \leftarrow \sum_j w_{ij}(x_j - \eta m_j)`.
    The arguments are those of `decentlam`; ``velocity`` is m, in units of gradients.

    Example:
        >>> x, m = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
        >>> dmsgd(x, torch.tensor([[1.0], [1.0]]), m, 0.5, 0.9, lambda z: z.mean(0, True))
        >>> x.tolist(), m.tolist()
        ([[1.5], [1.5]], [[1.0], [1.0]])
    """
    velocity.mul_(momentum).add_(gradient)
    weights.copy_(mix(torch.add(weights, velocity, alpha=-lr)))


def allreduce(
    weights: Tensor, gradient: Tensor, velocity: Tensor, lr: float, momentum: float, mix: Mix
) -> None:
    r"""Make an update of plain momentum SGD with the mean gradient, as ``torch.optim.SGD`` does.

    :math:`m \leftarrow \beta m + g`, :math:`x \leftarrow x - \eta m`. ``gradient`` is the mean over
    all workers already, so ``mix`` is not called; the other arguments are those of `dmsgd`.
    """
    velocity.mul_(momentum).add_(gradient)
    weights.sub_(velocity, alpha=lr)


RULES: dict[str, Rule] = {"decentlam": decentlam, "dmsgd": dmsgd, "allreduce": allreduce}
