"""The loss as a function of its parameters: values, gradients, places, and what is refused."""

import pytest
import torch
from torch import nn

from fairseq_bas.measure.loss_surface import LossSurface


class Tied(nn.Module):
    """An embedding that is the output layer too, a bias, a frozen weight and one without use."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.output = nn.Linear(3, 7)
        self.output.weight = self.embed.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, tokens):
        return self.output(torch.tanh(self.embed(tokens) * self.frozen))


def loss_of(model, batch):
    tokens, target = batch
    return nn.functional.cross_entropy(model(tokens), target, reduction="sum")


@pytest.fixture
def surface():
    torch.manual_seed(1)
    tokens, target = torch.randint(7, (2, 9))
    batches = [(tokens[:4], target[:4]), (tokens[4:5], target[4:5]), (tokens[5:], target[5:])]
    return LossSurface(Tied().double().eval(), batches, loss_of, 9.0)


def whole(surface):
    """Return the mean loss of all tokens at once, with graph."""
    tokens, target = (torch.cat(parts) for parts in zip(*surface.batches, strict=True))
    return nn.functional.cross_entropy(surface.model(tokens), target)


def test_tied_parameters_count_once_and_frozen_ones_not(surface):
    assert surface.names == ["unused", "embed.weight", "output.bias"]
    assert surface.size == 2 + 7 * 3 + 7
    assert surface.point().shape == (30,)


def test_micro_batches_give_the_loss_and_gradient_of_one_batch(surface):
    loss, gradient = surface.loss_and_gradient()
    expected = whole(surface)
    assert loss == pytest.approx(expected.item(), rel=1e-14)
    assert surface.loss() == pytest.approx(expected.item(), rel=1e-14)
    expected.backward()
    parts = [
        torch.zeros(2).double(),
        surface.model.embed.weight.grad,
        surface.model.output.bias.grad,
    ]
    torch.testing.assert_close(gradient, surface.flat(parts), rtol=1e-12, atol=1e-15)


def test_gradients_do_not_touch_those_of_training(surface):
    surface.model.output.bias.grad = torch.full((7,), 5.0).double()
    with torch.no_grad():  # as where a trainer validates
        surface.gradient()
    assert surface.model.embed.weight.grad is None
    assert surface.model.output.bias.grad.tolist() == [5.0] * 7


def test_moved_evaluates_elsewhere_and_returns_bit_equal_even_after_an_error(surface):
    here, there = surface.point(), torch.randn(30).double()
    loss = surface.loss()
    with pytest.raises(KeyError), surface.moved(there):
        assert torch.equal(surface.point(), there)
        assert surface.loss() == pytest.approx(whole(surface).item(), rel=1e-14)
        assert surface.loss() != loss
        surface.move_to(2 * there)
        raise KeyError
    assert torch.equal(surface.point(), here)
    assert surface.model.output.weight is surface.model.embed.weight


def test_split_and_flat_are_inverse(surface):
    vector = torch.arange(30.0)
    assert [part.shape for part in surface.split(vector)] == surface.shapes
    assert torch.equal(surface.flat(surface.split(vector)), vector)
    with pytest.raises(ValueError, match="no direction of a model with 30 parameters"):
        surface.split(torch.zeros(31))


def test_refuses_training_mode_anywhere_inside():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.5))).eval()
    batches = [torch.ones(3, 2)]
    LossSurface(model, batches, lambda model, x: model(x).sum(), 3.0)
    model[1][0].train()
    with pytest.raises(ValueError, match=r"1\.0 \(Dropout\) is in training mode"):
        LossSurface(model, batches, lambda model, x: model(x).sum(), 3.0)


def test_recurrent_layers_without_dropout_may_be_in_training_mode():
    model = nn.Sequential(nn.LSTM(2, 2)).eval()
    model[0].train()
    LossSurface(model, [torch.ones(3, 1, 2)], lambda model, x: model(x)[0].sum(), 3.0)


@pytest.mark.parametrize(
    ("loss", "weight", "message"),
    [
        (lambda model, x: (model(x) * torch.rand(())).sum(), 1.0, "two evaluations of the loss"),
        (lambda model, x: (model(x) * float("nan")).sum(), 1.0, "the loss is nan"),
        (lambda model, x: model(x).sum(), 0.0, "1 micro-batches of 0 tokens hold no loss"),
    ],
)
def test_refuses_a_loss_without_a_surface(loss, weight, message):
    with pytest.raises(ValueError, match=message):
        LossSurface(nn.Linear(2, 2).eval(), [torch.ones(1, 2)], loss, weight)


def test_refuses_half_precision_and_models_without_parameters():
    with pytest.raises(ValueError, match="no trainable parameter"):
        LossSurface(nn.Linear(2, 2).eval().requires_grad_(False), [1], lambda *_: 0, 1.0)
    with pytest.raises(ValueError, match=r"torch\.float16"):
        LossSurface(nn.Linear(2, 2).eval().half(), [1], lambda *_: 0, 1.0)
