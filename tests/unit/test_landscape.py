"""Lines, planes and directions through parameter space, against loops and hand-worked values."""

import math

import pytest
import torch
from torch import nn

from fairseq_bas.measure.directions import filter_normalised, random_direction
from fairseq_bas.measure.landscape import curve, evaluate_along, evenly, line, plane
from fairseq_bas.measure.loss_surface import LossSurface


class Tied(nn.Module):
    """Embed, mix and project back with the embeddings."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(7, 4, padding_idx=0)
        self.mix = nn.LSTM(4, 4)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens):
        return self.out(self.norm(self.mix(self.embed(tokens))[0]))


TOKENS = torch.tensor([[1, 2, 3], [4, 5, 6]])


def summed_loss(model, tokens):
    return nn.functional.cross_entropy(
        model(tokens).flatten(0, 1), tokens.flatten(), reduction="sum"
    )


def surface_of(model):
    return LossSurface(model.eval(), TOKENS.unsqueeze(1), summed_loss, float(TOKENS.numel()))


def mean_loss(model):
    """Return the loss by one plain forward pass of everything."""
    with torch.no_grad():
        losses = [summed_loss(model, row[None]) for row in TOKENS]
    return float(sum(loss.double() for loss in losses) / TOKENS.numel())


@pytest.mark.parametrize("way", [line, curve])
def test_ends_of_a_way_are_the_two_models(way):
    first, second = Tied(1), Tied(2)
    surface, other = surface_of(first), surface_of(second)
    before, expected = surface.point(), [mean_loss(first), mean_loss(second)]
    path = way(before, other.point())
    assert torch.equal(path(0.0), before)
    assert torch.equal(path(1.0), other.point())
    values = list(evaluate_along(surface, path, [(0.0,), (1.0,)], {"loss": surface.loss}))
    assert [value["loss"] for value in values] == expected
    assert torch.equal(surface.point(), before)


def test_a_line_has_the_losses_of_models_that_were_mixed_by_hand():
    start, end, mixed = Tied(1).state_dict(), Tied(2).state_dict(), Tied(3)
    surface, second = surface_of(Tied(1)), Tied(2)
    path = line(surface.point(), surface_of(second).point())
    places = [-1.0, 0.25, 2.0]
    found = evaluate_along(surface, path, [(place,) for place in places], {"loss": surface.loss})
    for place, value in zip(places, found, strict=True):
        mixed.load_state_dict({k: (1 - place) * start[k] + place * end[k] for k in start})
        assert value["loss"] == pytest.approx(mean_loss(mixed), rel=1e-6)


def test_curve_keeps_to_a_quarter_circle():
    first, second = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    for alpha in (0.3, 1.7, -0.5):
        point = curve(first, second)(alpha)
        assert float(point.norm()) == pytest.approx(2)
        angle = math.atan2(point[1], point[0])
        assert angle == pytest.approx(alpha * math.pi / 2, abs=1e-6)


def test_plane_is_a_grid_around_the_model():
    surface = surface_of(Tied(1))
    point = surface.point()
    one, two = torch.randn(2, surface.size)
    path = plane(point, one, two)
    assert torch.equal(path(0.0, 0.0), point)
    assert torch.allclose(path(0.5, -2.0), point + 0.5 * one - 2 * two, atol=1e-6)
    assert torch.equal(surface.point(), point)  # a path does not write into its origin


def test_parameters_come_back_when_the_caller_stops_early_or_a_measure_fails():
    surface = surface_of(Tied(1))
    before = surface.point()
    path = plane(before, torch.ones(surface.size))
    points = evaluate_along(surface, path, [(1.0,), (2.0,)], {"loss": surface.loss})
    next(points)
    assert not torch.equal(surface.point(), before)
    assert torch.is_grad_enabled()
    points.close()
    assert torch.equal(surface.point(), before)
    with pytest.raises(ZeroDivisionError):
        list(evaluate_along(surface, path, [(1.0,)], {"loss": lambda: 1 / 0}))
    assert torch.equal(surface.point(), before)


def test_every_filter_of_a_direction_has_the_norm_of_its_weights():
    torch.manual_seed(0)
    weights = [torch.randn(5, 3), torch.randn(4, 2, 3), torch.randn(6), torch.tensor(2.0)]
    weights[0][2] = 0  # as of padding
    directions = random_direction(weights, seed=1)
    for weight, direction in zip(weights[:2], directions[:2], strict=True):
        for row, moved in zip(weight, direction, strict=True):
            assert float(moved.norm()) == pytest.approx(float(row.norm()), rel=1e-5)
    assert all(not direction.any() for direction in directions[2:])
    draw = torch.randn(5, 3)
    scaled = filter_normalised(draw, weights[0])
    for row, drawn, weight in zip(scaled, draw, weights[0], strict=True):
        assert torch.allclose(row, drawn * weight.norm() / drawn.norm(), atol=1e-6)


def test_directions_follow_their_seed_and_number_and_no_global_state():
    weights = [torch.ones(30, 40), torch.ones(8, 8)]
    torch.manual_seed(5)
    first = random_direction(weights, seed=1)
    torch.manual_seed(6)
    again = random_direction([weight.double() for weight in weights], seed=1)
    assert all(torch.allclose(a.double(), b, atol=1e-6) for a, b in zip(first, again, strict=True))
    for other in (random_direction(weights, seed=2), random_direction(weights, seed=1, number=1)):
        cosine = nn.functional.cosine_similarity(first[0].flatten(), other[0].flatten(), dim=0)
        assert abs(cosine) < 0.15


def test_tied_embeddings_are_moved_once():
    model = Tied(1)
    surface = surface_of(model)
    before = surface.point()
    direction = surface.flat(random_direction(surface.split(before), seed=1))
    assert len(direction) == surface.size == 7 * 4 + 2 * 16 * 4 + 2 * 16 + 2 * 4
    weight = model.embed.weight.detach().clone()
    with surface.moved(plane(before, direction)(0.5)):
        moved = model.out.weight - weight
        assert model.out.weight is model.embed.weight
        assert not moved[0].any()  # the vector of padding is 0 and stays there
        norms = moved[1:].norm(dim=1) / weight[1:].norm(dim=1)
        assert norms.tolist() == pytest.approx([0.5] * 6, rel=1e-5)
        assert torch.equal(model.norm.weight, torch.ones(4))


def test_even_coordinates_hit_whole_numbers():
    assert evenly(-1, 2, 25)[8::8] == [0.0, 1.0, 2.0]
    assert 0.0 in evenly(-1, 1, 11) and 1.0 in evenly(-0.5, 1.5, 401)
    assert len(evenly(-0.3, 0.7, 11)) == 11 and 0.0 in evenly(-0.3, 0.7, 11)
    with pytest.raises(ValueError, match="1 points from 0 to 1 make no row; pass two points"):
        evenly(0, 1, 1)
