"""Trace and density of matrices whose spectrum is known."""

import math

import pytest
import torch

from fairseq_bas.measure.spectrum import bandwidth_of, density, rademacher, smooth, trace
from tests.unit.test_lanczos import seeded, symmetric

N = 120
SPECTRUM = [*torch.linspace(-0.4, 0.6, N - 3).tolist(), 3.0, 5.0, 5.0]


@pytest.fixture(scope="module")
def matrix():
    return symmetric(SPECTRUM)


def test_rademacher_is_fair_and_seeded():
    vector = rademacher(10_000, seeded())
    assert set(vector.tolist()) == {-1.0, 1.0}
    assert abs(vector.mean()) < 4 / 100
    assert torch.equal(vector, rademacher(10_000, seeded()))


def test_trace_has_the_error_that_it_states(matrix):
    """Over many estimates, errors over stated errors have variance near 1."""
    estimates = [trace(matrix.matmul, N, 30, seeded(seed)) for seed in range(200)]
    errors = [(each.mean - sum(SPECTRUM)) / each.standard_error for each in estimates]
    assert abs(sum(errors) / 200) < 4 / math.sqrt(200)
    assert 0.75 < sum(error**2 for error in errors) / 200 < 1.4


def test_spread_of_the_trace_is_that_of_the_theory(matrix):
    samples = torch.tensor(trace(matrix.matmul, N, 3000, seeded()).samples)
    off_diagonal = matrix - matrix.diag().diag()
    assert samples.var().item() == pytest.approx(2 * off_diagonal.square().sum().item(), rel=0.2)


def test_one_vector_has_no_error_bar(matrix):
    assert math.isnan(trace(matrix.matmul, N, 1, seeded()).standard_error)


def test_density_has_the_moments_of_the_spectrum():
    spectrum = torch.linspace(-0.5, 2, N).tolist()
    found = density(symmetric(spectrum).matmul, N, steps=6, vectors=400, generator=seeded())
    assert found.weights.sum().item() == pytest.approx(1, abs=1e-12)
    for power in range(5):
        expected = sum(value**power for value in spectrum) / N
        assert found.moment(power) == pytest.approx(expected, rel=0.02)


def test_density_has_mass_one_and_shows_outliers_by_their_share(matrix):
    found = density(matrix.matmul, N, steps=40, vectors=300, generator=seeded())
    assert torch.trapezoid(found.values, found.grid).item() == pytest.approx(1, abs=1e-9)

    def mass(low, high):
        inside = (found.grid > low) & (found.grid < high)
        return torch.trapezoid(found.values[inside], found.grid[inside]).item()

    assert mass(4.5, 5.5) == pytest.approx(2 / N, rel=0.15)
    assert mass(2.5, 3.5) == pytest.approx(1 / N, rel=0.2)
    assert mass(0.8, 2.7) < 1e-6
    assert mass(0.1, 0.8) == pytest.approx(0.5 * (N - 3) / N, rel=0.03)


def test_smoothing_is_a_sum_of_gaussians():
    nodes, weights = torch.tensor([0.0, 2.0]), torch.tensor([0.3, 0.7])
    grid, values = smooth(nodes, weights, 0.25)
    normal = torch.distributions.Normal(nodes.double(), 0.25)
    expected = normal.log_prob(grid.unsqueeze(1)).exp() @ weights.double()
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-9)


def test_picture_scales_with_the_loss(matrix):
    one, ten = (
        density(lambda v, f=factor: f * (matrix @ v), N, 10, 2, seeded()) for factor in (1, 10)
    )
    torch.testing.assert_close(ten.grid, 10 * one.grid)
    torch.testing.assert_close(ten.values, one.values / 10)
    assert bandwidth_of(torch.zeros(3)) > 0


def test_refuses_no_vectors(matrix):
    with pytest.raises(ValueError, match="0 vectors estimate no trace"):
        trace(matrix.matmul, N, 0, seeded())
    with pytest.raises(ValueError, match="0 vectors estimate no density"):
        density(matrix.matmul, N, 4, 0, seeded())
