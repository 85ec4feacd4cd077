import math

import pytest
import torch

from fairseq_bas.optim.topology import NEIGHBOURS, check_mixing, mixing_matrix, spectral_gap


@pytest.mark.parametrize(
    ("topology", "workers", "neighbours"),
    [
        ("ring", 1, set()),
        ("ring", 2, {1}),
        ("ring", 3, {1, 2}),
        ("ring", 7, {1, 6}),
        ("grid", 5, {1, 4}),
        ("grid", 6, {1, 2, 3}),  # two rows of three
        ("grid", 12, {1, 3, 4, 8}),  # three rows of four
        ("exponential", 6, {1, 2, 4, 5}),
        ("exponential", 8, {1, 2, 4, 6, 7}),
        ("full", 5, {1, 2, 3, 4}),
    ],
)
def test_neighbours_of_the_first_worker_by_hand(topology, workers, neighbours):
    row = mixing_matrix(topology, workers)[0].tolist()
    weight = 1 / (1 + len(neighbours))
    expected = [weight if j == 0 or j in neighbours else 0 for j in range(workers)]
    assert row == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("topology", NEIGHBOURS)
@pytest.mark.parametrize("workers", [*range(1, 18), 24, 32])
def test_weights_are_symmetric_doubly_stochastic_and_link_all(topology, workers):
    matrix = mixing_matrix(topology, workers)
    assert torch.equal(matrix, matrix.T)
    for total in (matrix.sum(0), matrix.sum(1)):
        torch.testing.assert_close(total, torch.ones_like(total))
    assert (matrix >= 0).all() and (matrix.diagonal() > 0).all()
    reached = torch.linalg.matrix_power(matrix, workers)  # as many rounds as there are workers
    assert (reached > 0).all()


@pytest.mark.parametrize("workers", [3, 4, 8, 15])
def test_spectral_gap_of_a_ring_in_closed_form(workers):
    others = [(1 + 2 * math.cos(2 * math.pi * k / workers)) / 3 for k in range(1, workers)]
    gap = spectral_gap(mixing_matrix("ring", workers))
    assert gap == pytest.approx(1 - max(map(abs, others)), abs=1e-12)
    assert spectral_gap(mixing_matrix("full", workers)) == pytest.approx(1)


def directed_exponential(workers):
    """Return the doubly stochastic weights of worker i with workers i + 1, i + 2, i + 4, ..."""
    steps = [0, *(2**k for k in range((workers - 1).bit_length()))]
    matrix = torch.zeros(workers, workers, dtype=torch.float64)
    for worker in range(workers):
        for step in steps:
            matrix[worker, (worker + step) % workers] += 1 / len(steps)
    return matrix


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (directed_exponential(8), "not symmetric, that is of a directed graph"),
        (torch.tensor([[0.0, 1.0], [1.0, 0.0]]), "never come to agree"),  # they swap for ever
        (torch.block_diag(*[torch.full((2, 2), 0.5)] * 2), "never come to agree"),
        (torch.tensor([[0.6, 0.3], [0.3, 0.6]]), "does not sum to 1"),
        (torch.tensor([[1.5, -0.5], [-0.5, 1.5]]), "negative"),
    ],
)
def test_other_weights_are_refused_with_the_reason(matrix, reason):
    with pytest.raises(ValueError, match=reason):
        check_mixing(matrix.double())


def test_names_of_directed_and_changing_graphs_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="directed graphs, and graphs that change"):
        mixing_matrix("one-peer", 8)
