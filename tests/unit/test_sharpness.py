"""Sharpness against closed forms on quadratics, every corner of the box, and explicit matrices."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from fairseq_bas.measure.loss_surface import LossSurface
from fairseq_bas.measure.sharpness import SharpnessSettings, half_widths, measure_sharpness
from fairseq_bas.measure.subspace import FullSpace, RandomSubspace

FLOOR = 0.5  # of the quadratics: f at their minimum
EPSILON = 1e-3


class Quadratic(nn.Module):
    """f(w) = FLOOR + (w - w0)^T H (w - w0) / 2, with its parameters in two tensors."""

    def __init__(self, minimum, hessian, dtype=torch.float64):
        super().__init__()
        self.centre = torch.as_tensor(minimum, dtype=dtype)
        self.hessian = torch.as_tensor(hessian, dtype=dtype)
        self.first = nn.Parameter(self.centre[:4].reshape(2, 2).clone())
        self.rest = nn.Parameter(self.centre[4:].clone())

    def loss(self):
        offset = torch.cat([self.first.reshape(-1), self.rest]) - self.centre
        return FLOOR + offset @ self.hessian @ offset / 2


def surface_of(minimum, hessian, dtype=torch.float64):
    """Return the surface of a quadratic, given as two micro-batches of 1 and 3 tokens."""
    model = Quadratic(minimum, hessian, dtype).eval()
    return LossSurface(model, [1.0, 3.0], lambda model, tokens: tokens * model.loss(), 4.0)


def points(size, seed=0):
    return np.random.default_rng(seed).normal(size=size)


def corners(size):
    return np.array(list(itertools.product((-1.0, 1.0), repeat=size)))


def highest_corner(hessian, matrix, widths):
    """Return phi of a convex quadratic, whose maximum over a box is at one of its corners."""
    moves = (corners(len(widths)) * widths) @ matrix.T
    rises = np.einsum("ci,ij,cj->c", moves, hessian, moves) / 2
    return 100 * rises.max() / (1 + FLOOR)


@pytest.mark.parametrize("scaling", ["box", "none"])
@pytest.mark.parametrize("epsilon", [1e-3, 5e-4])
@pytest.mark.parametrize("box", ["keskar", "adaptive"])
def test_diagonal_hessian_has_a_closed_form(box, epsilon, scaling):
    minimum, eigenvalues = points(30), np.logspace(-1, 2, 30)
    surface = surface_of(minimum, np.diag(eigenvalues))
    widths = epsilon * (abs(minimum) + (box == "keskar"))
    expected = 100 * (eigenvalues * widths**2).sum() / 2 / (1 + FLOOR)
    settings = SharpnessSettings(box=box, scaling=scaling)
    found = measure_sharpness(surface, FullSpace(surface.point()), epsilon, settings)
    assert found.phi == pytest.approx(expected, rel=1e-3)
    assert found.loss == FLOOR
    assert all(1 <= search.iterations <= 10 for search in found.searches)


def test_dense_hessian_finds_the_highest_corner():
    minimum, root = points(10), points((10, 10), seed=1)
    surface = surface_of(minimum, root @ root.T)
    widths = EPSILON * (abs(minimum) + 1)
    expected = highest_corner(root @ root.T, np.eye(10), widths)
    settings = SharpnessSettings(starts=40)
    found = measure_sharpness(surface, FullSpace(surface.point()), EPSILON, settings)
    assert found.phi == pytest.approx(expected, rel=1e-6)
    assert len(found.searches) == 40
    assert found.highest == max(search.highest for search in found.searches)


def test_an_exact_minimum_is_sharper_with_a_larger_top_eigenvalue():
    minimum, values = points(12), []
    for top in (1.0, 10.0, 100.0):
        rotation, _ = np.linalg.qr(points((12, 12), seed=2))
        hessian = rotation @ np.diag([top, *[0.5] * 11]) @ rotation.T
        surface = surface_of(minimum, hessian)
        assert surface.gradient().abs().max() == 0
        values.append(measure_sharpness(surface, FullSpace(surface.point()), EPSILON).phi)
    assert 0 < values[0] < values[1] < values[2]


def test_a_maximum_inside_the_box_is_found_and_a_lower_neighbourhood_counts_as_flat():
    minimum = np.zeros(8)
    top = EPSILON * np.linspace(-0.8, 0.8, 8)
    surface = surface_of(minimum, np.diag(np.full(8, -200.0)))
    space = FullSpace(surface.point())
    assert measure_sharpness(surface, space, EPSILON).phi == 0
    surface.move_to(torch.from_numpy(-top))
    found = measure_sharpness(surface, space, EPSILON)
    assert found.phi > 0
    assert found.highest == pytest.approx(FLOOR, abs=1e-9)


@pytest.mark.parametrize("columns", ["normal", "unit"])
def test_subspace_equals_brute_force_with_the_whole_matrix(columns):
    minimum, root = points(40), points((40, 40), seed=1)
    surface = surface_of(minimum, root @ root.T)
    space = RandomSubspace(surface.point(), 7, columns, seed=3)
    matrix = np.stack([space.displacement(unit).numpy() for unit in np.eye(7)], axis=1)
    widths = EPSILON * (abs(np.linalg.pinv(matrix) @ minimum) + 1)
    expected = highest_corner(root @ root.T, matrix, widths)
    settings = SharpnessSettings(starts=8)
    found = measure_sharpness(surface, space, EPSILON, settings)
    assert found.phi == pytest.approx(expected, rel=1e-6)


def test_columns_are_as_said():
    like = torch.zeros(20_000)
    normal = RandomSubspace(like, 5, "normal", seed=1)
    unit = RandomSubspace(like, 5, "unit", seed=1)
    for number, one in enumerate(np.eye(5)):
        drawn, scaled = normal.displacement(one).double(), unit.displacement(one).double()
        assert abs(drawn.mean()) < 0.03
        assert float(drawn.std()) == pytest.approx(1, abs=0.03)
        assert float(scaled.norm()) == pytest.approx(1, abs=1e-6)
        assert float(drawn @ scaled / drawn.norm()) == pytest.approx(1, abs=1e-6)
        others = np.delete(normal.pull_back(drawn), number)
        assert abs(others).max() < 5 * 20_000**0.5  # independent columns
    other = RandomSubspace(like, 5, "normal", seed=2).displacement(np.eye(5)[0]).double()
    assert abs(float(other @ normal.displacement(np.eye(5)[0]).double())) < 5 * 20_000**0.5


def test_blocks_that_are_drawn_again_equal_those_that_are_kept():
    size = 45_000  # of two blocks, the last one smaller
    like = torch.from_numpy(points(size)).float()
    kept = RandomSubspace(like, 100, seed=1)
    drawn = RandomSubspace(like, 100, seed=1, max_bytes=0)
    assert kept._kept is not None and drawn._kept is None
    z = points(100)
    assert torch.equal(kept.displacement(z), drawn.displacement(z))
    assert np.array_equal(kept.pull_back(like), drawn.pull_back(like))
    moved = kept.displacement(z)
    assert float(moved @ like) == pytest.approx(float(z @ kept.pull_back(like)), rel=1e-3)
    assert kept.coordinates(moved) == pytest.approx(z, abs=1e-5)
    wide = RandomSubspace(like.double(), 100, seed=1, max_bytes=0)
    assert wide.displacement(z).numpy() == pytest.approx(moved.numpy(), abs=1e-4)
    rows = moved[41_943:].numpy().std()  # of the second block
    assert rows == pytest.approx(np.linalg.norm(z), rel=0.05)


def test_float32_model_agrees_with_float64_and_is_left_as_it_was():
    minimum, eigenvalues = points(30), np.logspace(0, 2, 30)
    values = []
    for dtype in (torch.float32, torch.float64):
        surface = surface_of(minimum, np.diag(eigenvalues), dtype)
        before = [parameter.detach().clone() for parameter in surface.parameters]
        space = RandomSubspace(surface.point(), 8, seed=2)
        values.append(measure_sharpness(surface, space, EPSILON).phi)
        pairs = zip(before, surface.parameters, strict=True)
        assert all(torch.equal(old, new) for old, new in pairs)
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_a_failing_search_leaves_the_model_as_it_was():
    minimum = points(8)
    model = Quadratic(minimum, np.eye(8)).eval()

    def loss(model, _):
        value = model.loss()
        return value if value < FLOOR + 1e-9 else value * float("inf")

    surface = LossSurface(model, [0], loss, 1.0)
    before = surface.point()
    with pytest.raises(ValueError, match=r"inf within the box of eps 0\.001; pass a smaller"):
        measure_sharpness(surface, FullSpace(before), EPSILON)
    assert torch.equal(surface.point(), before)


def test_seeds_iterations_and_evaluations_are_what_was_asked_for():
    surface = surface_of(points(20), np.diag(np.logspace(-2, 2, 20)))
    space, calls = FullSpace(surface.point()), []
    settings = SharpnessSettings(iterations=2, starts=2)
    found = measure_sharpness(surface, space, EPSILON, settings, lambda: calls.append(1))
    assert len(calls) == found.evaluations
    assert [search.iterations for search in found.searches] == [2, 2]
    assert found.searches[0].started != found.searches[1].started
    again = measure_sharpness(surface, space, EPSILON, settings)
    assert again == found
    other = measure_sharpness(
        surface, space, EPSILON, SharpnessSettings(iterations=2, starts=2, seed=2)
    )
    assert other.searches[0].started != found.searches[0].started


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SharpnessSettings(box="round"), "box 'round' is not known; pass one of keskar"),
        (lambda: SharpnessSettings(starts=0), "0 starts find nothing; pass 1 or more"),
        (lambda: half_widths(np.ones(2), 0.0), "epsilon 0 makes no box"),
        (lambda: RandomSubspace(torch.zeros(5), 6), "6 dimensions does not fit a model of 5"),
        (lambda: RandomSubspace(torch.zeros(5), 2, "long"), "columns 'long' are not known"),
    ],
)
def test_refusals_are_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
