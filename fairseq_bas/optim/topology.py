"""Who averages with whom: static, symmetric, doubly stochastic weights for n workers.

A momentum also acts on the distance between workers, so the eigenvalues of the weights decide
whether they stay together. Symmetric weights have real ones; a directed graph has complex ones, and
a graph that changes from update to update has none to rely on: with both, DecentLaM diverges at
momenta in common use (``tests/unit/test_decentralised.py`` shows the first). So both are refused.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

TOLERANCE = 1e-9


def _ring(worker: int, workers: int) -> Iterable[int]:
    return (worker - 1) % workers, (worker + 1) % workers


def _grid(worker: int, workers: int) -> Iterable[int]:
    """Return the four neighbours on a torus whose rows are the largest divisor up to the root."""
    rows = max(r for r in range(1, int(workers**0.5) + 1) if workers % r == 0)
    columns = workers // rows
    row, column = divmod(worker, columns)
    for step in (-1, 1):
        yield (row + step) % rows * columns + column
        yield row * columns + (column + step) % columns


def _exponential(worker: int, workers: int) -> Iterable[int]:
    """Return the workers at distances 1, 2, 4, ... on both sides: one side alone is directed."""
    for power in range((workers - 1).bit_length()):
        yield (worker + 2**power) % workers
        yield (worker - 2**power) % workers


def _full(worker: int, workers: int) -> Iterable[int]:
    return range(workers)


NEIGHBOURS: dict[str, Callable[[int, int], Iterable[int]]] = {
    "ring": _ring,
    "grid": _grid,
    "exponential": _exponential,
    "full": _full,
}


def mixing_matrix(topology: str, workers: int) -> Tensor:
    r"""Return the weights with which every worker averages what its neighbours sent.

    Metropolis-Hastings weights: :math:`w_{ij} = 1 / (1 + \max(d_i, d_j))` for neighbours i and j of
    :math:`d_i` and :math:`d_j` neighbours, :math:`w_{ii} = 1 - \sum_{j \ne i} w_{ij}`. On a ring
    of three or more that is 1/3 each, on the full graph 1/n.

    Args:
        topology: ``ring``, ``grid`` (a two-dimensional torus, as square as n allows, the ring for a
            prime n), ``exponential`` (neighbours at distances 1, 2, 4, ... on both sides) or
            ``full``.
        workers: n >= 1.

    Returns:
        (n, n) float64, which `check_mixing` accepts.

    Raises:
        ValueError: if there is no such topology.

    Example:
        >>> mixing_matrix("ring", 2).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
        >>> [round(float(w), 3) for w in mixing_matrix("ring", 4)[0]]
        [0.333, 0.333, 0.0, 0.333]
    """
    if topology not in NEIGHBOURS:
        raise ValueError(
            f"{topology!r} is no topology that momentum is stable on; pass ring, grid, exponential "
            "or full (directed graphs, and graphs that change from update to update, make workers "
            "drift apart without bound)"
        )
    linked = torch.zeros(workers, workers, dtype=torch.bool)
    for worker in range(workers):
        for other in NEIGHBOURS[topology](worker, workers):
            linked[worker, other] = other != worker
    degrees = linked.sum(dim=1)
    larger = torch.maximum(degrees[:, None], degrees[None, :])
    matrix = linked.double() / (1 + larger)
    matrix += torch.diag(1 - matrix.sum(dim=1))
    check_mixing(matrix)
    return matrix


def check_mixing(matrix: Tensor) -> None:
    """Refuse weights with which workers do not approach their common mean under momentum.

    Args:
        matrix: (n, n) float64, row i the weights of worker i.

    Raises:
        ValueError: if it is not symmetric, a weight is negative, a row does not sum to 1, or some
            workers never hear of others.

    Example:
        >>> check_mixing(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]]))
        Traceback (most recent call last):
        ValueError: the mixing weights are not symmetric, that is of a directed graph, on which \
momentum makes workers drift apart; let every worker weigh its neighbours as they weigh it
    """
    if matrix.shape != matrix.T.shape or not torch.allclose(matrix, matrix.T, atol=TOLERANCE):
        raise ValueError(
            "the mixing weights are not symmetric, that is of a directed graph, on which momentum "
            "makes workers drift apart; let every worker weigh its neighbours as they weigh it"
        )
    if (matrix < -TOLERANCE).any():
        raise ValueError("the mixing weights have a negative one; use weights between 0 and 1")
    if not torch.allclose(matrix.sum(dim=1), torch.ones_like(matrix[0]), atol=TOLERANCE):
        raise ValueError("a row of the mixing weights does not sum to 1; divide it by its sum")
    if spectral_gap(matrix) < TOLERANCE:
        raise ValueError(
            "the mixing weights leave workers that never come to agree; link all of them, and give "
            "each a weight of its own above 0"
        )


def spectral_gap(matrix: Tensor) -> float:
    """Return how fast averaging alone brings workers together: 1 is at once, 0 is never.

    One minus the second largest absolute eigenvalue: each round of averaging shrinks the distance
    to the mean at least by that eigenvalue.

    Args:
        matrix: (n, n) symmetric and doubly stochastic.

    Example:
        >>> round(spectral_gap(mixing_matrix("ring", 4)), 3)
        0.667
        >>> round(spectral_gap(mixing_matrix("ring", 16)), 3)
        0.051
    """
    if len(matrix) == 1:
        return 1.0
    sizes = torch.linalg.eigvalsh(matrix).abs().sort(descending=True).values
    return 1.0 - float(sizes[1])
