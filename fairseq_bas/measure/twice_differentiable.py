"""Whether the gradient of a loss can itself be differentiated.

Autograd functions that someone has written are trusted to be differentiable once. Their backward
pass may compute outside of autograd, and then ``torch.autograd.grad`` with given inputs silently
leaves out what flows through it, also where the function is marked ``once_differentiable``: the
node that would raise is not on the way to the inputs and never runs. The Hessian would be wrong.
"""

from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction


class NotTwiceDifferentiable(ValueError):
    """Tell that a loss has no second derivative by differentiating its gradient.

    Args:
        reason: why, as a clause.
    """

    def __init__(self, reason: str):
        super().__init__(f"{reason}; use differences of gradients")
        self.reason = reason


def require_twice_differentiable(output: Tensor) -> None:
    """Refuse an output that was computed by an autograd function written in Python.

    Args:
        output: with graph.

    Raises:
        NotTwiceDifferentiable: if there is one.

    >>> import torch
    >>> require_twice_differentiable(torch.ones(2, requires_grad=True).sin().sum())
    """
    name = custom_function(output)
    if name is not None:
        raise NotTwiceDifferentiable(
            f"{name} has a backward pass of its own, which may not be differentiable again"
        )


def custom_function(output: Tensor) -> str | None:
    """Return the name of an autograd function written in Python that computed ``output``, or None.

    Args:
        output: with graph, or without, which has none.
    """
    waiting: list[Any] = [output.grad_fn]
    seen: set[Any] = {None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, BackwardCFunction):
            return type(node).__name__.removesuffix("Backward").lstrip("_")
        waiting.extend(following for following, _ in node.next_functions)
    return None
