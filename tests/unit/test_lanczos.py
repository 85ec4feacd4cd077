"""Lanczos and eigenvalues of matrices whose spectrum is known."""

import pytest
import torch

from fairseq_bas.measure.eigenvalues import top_eigenvalues
from fairseq_bas.measure.lanczos import lanczos, largest_eigenvalue


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def symmetric(eigenvalues, seed=7):
    """Return a dense matrix with these eigenvalues."""
    n = len(eigenvalues)
    orthogonal = torch.linalg.qr(torch.randn(n, n, generator=seeded(seed)).double()).Q
    return orthogonal @ torch.as_tensor(eigenvalues).double().diag() @ orthogonal.T


# A bulk around 0, outliers on both sides: the most negative is the largest in absolute value.
SPECTRUM = [-12.0, -3.0, *torch.linspace(-0.5, 0.5, 294).tolist(), 4.0, 6.0, 9.0, 9.5]


@pytest.fixture(scope="module")
def matrix():
    return symmetric(SPECTRUM)


def test_quadrature_has_the_moments_of_the_start(matrix):
    start = torch.randn(300, generator=seeded()).double()
    steps = 6
    found = lanczos(matrix.matmul, start, steps)
    nodes, weights = found.nodes_and_weights()
    unit = start / start.norm()
    for power in range(2 * steps):
        expected = unit @ torch.linalg.matrix_power(matrix, power) @ unit
        assert (weights * nodes**power).sum().item() == pytest.approx(expected.item(), rel=1e-9)
    assert found.rest > 0


def test_vectors_stay_orthogonal_where_eigenvalues_have_converged(matrix):
    # Without re-orthogonalisation, copies of 9.5 and -12 come up long before 100 steps.
    nodes, _ = lanczos(
        matrix.matmul, torch.randn(300, generator=seeded()).double(), 100
    ).nodes_and_weights()
    torch.testing.assert_close(nodes[-4:], torch.tensor(SPECTRUM[-4:]).double())
    torch.testing.assert_close(nodes[:2], torch.tensor(SPECTRUM[:2]).double())
    assert nodes[2:-4].abs().max() <= 0.5 + 1e-9


def test_ends_where_the_start_reaches_no_further():
    matrix = torch.tensor([1.0, 1.0, 2.0, 5.0]).double().diag()
    found = lanczos(matrix.matmul, torch.tensor([1.0, 2.0, 0.0, 3.0]).double(), 4)
    assert found.rest == 0 and len(found.beta) == 1
    nodes, weights = found.nodes_and_weights()
    assert nodes.tolist() == pytest.approx([1, 5])
    assert weights.tolist() == pytest.approx([5 / 14, 9 / 14])


def test_products_and_vectors_of_float32_are_enough(matrix):
    narrow = matrix.float()
    start = torch.randn(300, generator=seeded())
    nodes, _ = lanczos(lambda v: narrow @ v.float(), start, 60).nodes_and_weights()
    assert nodes[-1].item() == pytest.approx(9.5, rel=1e-5)
    assert nodes[2:-4].abs().max() < 0.501


def test_largest_eigenvalue_is_the_largest_not_that_of_largest_size(matrix):
    value, steps = largest_eigenvalue(matrix.matmul, 300, seeded(), steps=30, tolerance=1e-4)
    assert value == pytest.approx(9.5, rel=1e-3) and value <= 9.5 + 1e-9
    assert 5 < steps <= 30
    assert largest_eigenvalue(matrix.matmul, 300, seeded(), 30, 1e-4) == (value, steps)


def test_largest_eigenvalue_makes_the_products_it_says(matrix):
    calls = []

    def product(vector):
        calls.append(vector)
        return matrix @ vector

    _, steps = largest_eigenvalue(product, 300, seeded(), steps=4, tolerance=1e-12)
    assert steps == len(calls) == 4
    assert largest_eigenvalue(lambda v: 3 * v, 5, seeded()) == (pytest.approx(3), 1)


@pytest.mark.parametrize(("which", "expected"), [("LA", [9.5, 9.0, 6.0]), ("SA", [-12.0, -3.0])])
def test_top_eigenvalues_at_either_end(matrix, which, expected):
    found = top_eigenvalues(
        matrix.matmul, 300, len(expected), seeded(), which=which, tolerance=1e-8
    )
    assert found.values == pytest.approx(expected, rel=1e-7)
    assert max(found.residuals) < 1e-6


def test_residuals_are_those_of_the_product_that_was_given(matrix):
    """A product with errors, as differences make, shows in the residual."""
    error = 0.05 * symmetric(torch.randn(300, generator=seeded(3)), seed=9)
    found = top_eigenvalues(lambda v: matrix @ v + error @ v.abs(), 300, 1, seeded())
    assert found.residuals[0] > 0.01


def test_gives_up_with_what_has_converged():
    flat = torch.linspace(0, 1, 500).double()
    found = top_eigenvalues(lambda v: flat * v, 500, 3, seeded(), tolerance=1e-12, max_products=20)
    assert len(found.values) < 3 == found.asked and found.products < 60


def test_refuses_what_has_no_answer(matrix):
    with pytest.raises(ValueError, match="300 eigenvalues of a model with 300 parameters"):
        top_eigenvalues(matrix.matmul, 300, 300, seeded())
    with pytest.raises(ValueError, match="not finite"):
        largest_eigenvalue(lambda v: v * float("inf"), 3, seeded())
    with pytest.raises(ValueError, match="without direction"):
        lanczos(matrix.matmul, torch.zeros(300), 3)
    with pytest.raises(ValueError, match="0 steps"):
        lanczos(matrix.matmul, torch.ones(300), 0)
