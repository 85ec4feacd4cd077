"""The rules on eight workers in a ring and least squares with exact gradients, in float64."""

import pytest
import torch

from fairseq_bas.optim.decentralised import allreduce, decentlam, dmsgd
from fairseq_bas.optim.topology import mixing_matrix
from tests.unit.test_topology import directed_exponential

WORKERS, SIZE, ROWS = 8, 5, 20
RING = mixing_matrix("ring", WORKERS)


@pytest.fixture(scope="module")
def least_squares():
    """Return A (n, rows, d), b (n, rows) of unlike workers, and the common solution (d,)."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(WORKERS, ROWS, SIZE, generator=generator, dtype=torch.float64) / ROWS**0.5
    b = torch.randn(WORKERS, ROWS, generator=generator, dtype=torch.float64)
    solution = torch.linalg.lstsq(a.reshape(-1, SIZE), b.reshape(-1)).solution
    return a, b, solution


def gradients(problem, weights):
    a, b, _ = problem
    return torch.einsum("nrd,nr->nd", a, torch.einsum("nrd,nd->nr", a, weights) - b)


def run(rule, problem, momentum, rates, matrix=RING):
    """Return the weights (n, d) after an update at each learning rate."""
    weights = torch.zeros(WORKERS, SIZE, dtype=torch.float64)
    velocity = torch.zeros_like(weights)
    for lr in rates:
        gradient = gradients(problem, weights)
        rule(weights, gradient, velocity, lr, momentum, lambda vectors: matrix @ vectors)
    return weights


def squared_bias(weights, problem):
    return float((weights - problem[2]).square().sum(dim=1).mean())


def plain_decentralised(problem, lr):
    """Return where plain decentralised SGD ends, x = W(x - lr g(x)), as a linear system."""
    a, b, _ = problem
    hessians = torch.block_diag(*(a.transpose(1, 2) @ a))
    targets = torch.einsum("nrd,nr->nd", a, b).reshape(-1)
    mix = torch.kron(RING, torch.eye(SIZE, dtype=torch.float64))
    identity = torch.eye(WORKERS * SIZE, dtype=torch.float64)
    system = identity - mix @ (identity - lr * hessians)
    return torch.linalg.solve(system, lr * mix @ targets).view(WORKERS, SIZE)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.8, 0.9, 0.95])
def test_momentum_adds_no_bias_to_decentlam(least_squares, momentum):
    lr = 0.02
    found = run(decentlam, least_squares, momentum, [lr] * 3000)
    expected = plain_decentralised(least_squares, lr)
    assert squared_bias(expected, least_squares) > 1e-5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("momentum", "theory"), [(0.8, 25), (0.9, 100)])
def test_momentum_inflates_the_bias_of_dmsgd(least_squares, momentum, theory):
    lr = 5e-4
    plain = squared_bias(plain_decentralised(least_squares, lr), least_squares)
    found = run(dmsgd, least_squares, momentum, [lr] * 10_000)
    assert squared_bias(found, least_squares) / plain == pytest.approx(theory, rel=0.1)


def test_decentlam_is_the_rule_of_the_paper(least_squares):
    """In its own units, m = v / lr, at a constant learning rate."""
    lr, momentum = 0.05, 0.9
    weights = torch.zeros(WORKERS, SIZE, dtype=torch.float64)
    velocity = torch.zeros_like(weights)
    for _ in range(50):
        mixed = RING @ (weights - lr * gradients(least_squares, weights))
        velocity = momentum * velocity + (weights - mixed) / lr
        weights = weights - lr * velocity
    found = run(decentlam, least_squares, momentum, [lr] * 50)
    torch.testing.assert_close(found, weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.8, 0.9])
def test_directed_graphs_diverge(least_squares, momentum):
    """Which is why they are refused; the same graph without directions does not."""
    directed = directed_exponential(WORKERS)
    rates = [0.02] * 1000
    assert not run(decentlam, least_squares, momentum, rates, directed).abs().max() < 1e6
    undirected = mixing_matrix("exponential", WORKERS)
    assert run(decentlam, least_squares, momentum, rates, undirected).abs().max() < 10


def test_unsteady_learning_rates_keep_workers_together(least_squares):
    """As with windows of variable length; the paper's m = v / lr diverges here."""
    rates = [0.05, 0.0, 0.025, 0.005] * 500
    weights = run(decentlam, least_squares, 0.9, rates)
    assert squared_bias(weights, least_squares) < 4 * squared_bias(
        plain_decentralised(least_squares, 0.05), least_squares
    )


@pytest.mark.parametrize("rule", [decentlam, allreduce])
def test_workers_that_hear_all_others_do_momentum_sgd(least_squares, rule):
    """Against torch, with the mean gradient."""
    lr, momentum = 0.05, 0.9
    reference = torch.nn.Parameter(torch.zeros(SIZE, dtype=torch.float64))
    sgd = torch.optim.SGD([reference], lr=lr, momentum=momentum)
    for _ in range(30):
        same = reference.detach().expand(WORKERS, SIZE)
        reference.grad = gradients(least_squares, same).mean(dim=0)
        sgd.step()
    full = torch.full((WORKERS, WORKERS), 1 / WORKERS, dtype=torch.float64)
    weights = torch.zeros(WORKERS, SIZE, dtype=torch.float64)
    velocity = torch.zeros_like(weights)
    for _ in range(30):
        gradient = gradients(least_squares, weights)
        if rule is allreduce:
            gradient = full @ gradient
        rule(weights, gradient, velocity, lr, momentum, lambda vectors: full @ vectors)
    torch.testing.assert_close(
        weights, reference.detach().expand(WORKERS, SIZE), atol=1e-12, rtol=0
    )
