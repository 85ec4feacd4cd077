"""Recurrent state on its way from one window of a stream to the next.

Shapes: L layers, B streams, R copies of each in a pass, H hidden.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

LayerState = tuple[Tensor, Tensor]
State = tuple[LayerState, ...]
"""For each layer hidden and cell state, (rows, H) each; H may differ between layers."""


class CarriedState:
    """Hand a model the state it starts from, and take the one it ends with.

    Args:
        value: the state before the window; None for zeros.
    """

    def __init__(self, value: State | None = None):
        self.value = value

    def store(self, state: Sequence[LayerState]) -> None:
        """Keep the state after the window, cut off from the graph that computed it."""
        self.value = tuple((hidden.detach(), cell.detach()) for hidden, cell in state)


def split_copies(state: State, replicas: range) -> dict[int, State]:
    """Take the rows of a pass apart.

    Args:
        state: of B * R rows, copies adjacent.
        replicas: the R replica numbers.

    Returns:
        The state of B rows of each replica.

    >>> layer = torch.tensor([[1.], [2.], [3.], [4.]])
    >>> split_copies(((layer, layer),), range(4, 6))[5][0][0].flatten().tolist()
    [2.0, 4.0]
    """
    count = len(replicas)
    return {
        replica: tuple((hidden[row::count], cell[row::count]) for hidden, cell in state)
        for row, replica in enumerate(replicas)
    }


def join_copies(states: Mapping[int, State], replicas: Sequence[int]) -> State:
    """Put the rows of a pass together, the inverse of ``split_copies``.

    A replica that has no state yet, as M has grown, starts from that of replica 0.

    Args:
        states: the state of B rows of each replica.
        replicas: R replica numbers; one may be there several times.

    Returns:
        The state of B * R rows, copies adjacent.

    >>> one, two = (((torch.full((2, 1), x), torch.full((2, 1), x)),) for x in (1., 2.))
    >>> join_copies({0: one, 1: two}, range(3))[0][0].flatten().tolist()
    [1.0, 2.0, 1.0, 1.0, 2.0, 1.0]
    """
    chosen = [states.get(replica, states[min(states)]) for replica in replicas]
    return tuple(
        (
            torch.stack([hidden for hidden, _ in layers], dim=1).flatten(0, 1),
            torch.stack([cell for _, cell in layers], dim=1).flatten(0, 1),
        )
        for layers in zip(*chosen, strict=True)
    )
