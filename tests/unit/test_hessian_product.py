"""Products with Hessians against dense ones, and the ways to compute them against each other."""

import copy

import pytest
import torch
from torch import nn

from fairseq_bas.measure.hessian_product import (
    choose_method,
    hessian_product,
    relative_step,
    why_not_double,
)
from fairseq_bas.measure.kernels import plain_kernels
from fairseq_bas.measure.loss_surface import LossSurface
from fairseq_bas.measure.twice_differentiable import NotTwiceDifferentiable
from fairseq_bas.nn.lstm_layer import LSTMLayer


class Network(nn.Module):
    """Two layers with a tied weight; logits of 4 classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.output = nn.Linear(3, 4, bias=False), nn.Linear(4, 4)
        self.second = nn.Linear(3, 4)
        self.second.weight = self.first.weight
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.output(torch.tanh(self.first(x)) * torch.sigmoid(self.second(x)))


def logits_of(model, batch):
    return model(batch[0])


def loss_of(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")


def surface_of(model, sizes=(5, 1, 3), dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(sum(sizes), 3, generator=generator).to(dtype)
    target = torch.randint(4, (sum(sizes),), generator=generator)
    batches = list(zip(x.split(sizes), target.split(sizes), strict=True))
    model = copy.deepcopy(model).to(dtype).eval()
    return LossSurface(model, batches, loss_of, sum(sizes), outputs_of=logits_of)


def at(surface, function):
    """Return a function of the vector of parameters, by a functional call of the model."""

    def of_vector(vector):
        weights = dict(zip(surface.names, surface.split(vector), strict=True))
        return function(lambda x: torch.func.functional_call(surface.model, weights, (x,)))

    return of_vector


def mean_loss(surface):
    return at(
        surface,
        lambda call: (
            sum(
                nn.functional.cross_entropy(call(x), target, reduction="sum")
                for x, target in surface.batches
            )
            / surface.weight
        ),
    )


@pytest.fixture
def surface():
    return surface_of(Network())


@pytest.fixture
def dense(surface):
    return torch.func.hessian(mean_loss(surface))(surface.point())


def columns(product, n):
    return torch.stack([product(vector) for vector in torch.eye(n).double()], dim=1)


def test_double_gives_every_column_of_the_dense_hessian(surface, dense):
    assert dense.abs().max() > 0.01
    found = columns(hessian_product(surface), surface.size)
    torch.testing.assert_close(found, dense, rtol=1e-10, atol=1e-14)


def test_differences_come_close_and_leave_parameters_bit_equal(surface, dense):
    before = [parameter.detach().clone() for parameter in surface.parameters]
    found = columns(hessian_product(surface, "difference"), surface.size)
    torch.testing.assert_close(found, dense, rtol=0, atol=1e-8)
    for parameter, value in zip(surface.parameters, before, strict=True):
        assert torch.equal(parameter, value)


def test_differences_do_not_depend_on_the_length_of_the_vector(surface):
    product, vector = hessian_product(surface, "difference"), torch.randn(surface.size).double()
    torch.testing.assert_close(product(1e-6 * vector), 1e-6 * product(vector), rtol=1e-6, atol=0)
    assert not product(torch.zeros(surface.size)).any()


@pytest.mark.parametrize("method", ["double", "difference", "gauss-newton"])
def test_micro_batches_give_the_product_of_one_batch(method):
    several, one = (surface_of(Network(), sizes) for sizes in ((5, 1, 3), (9,)))
    vector = torch.randn(one.size, generator=torch.Generator().manual_seed(1)).double()
    expected = hessian_product(one, method)(vector)
    torch.testing.assert_close(hessian_product(several, method)(vector), expected)


def gauss_newton(surface):
    """Return J^T (diag(p) - p p^T) J / N with a dense J of all logits."""
    x = torch.cat([x for x, _ in surface.batches])
    jacobian = torch.func.jacrev(at(surface, lambda call: call(x)))(surface.point())
    p = surface.model(x).detach().softmax(dim=1)
    of_loss = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    return torch.einsum("tan,tab,tbm->nm", jacobian, of_loss, jacobian) / surface.weight


def test_gauss_newton_equals_the_dense_matrix_and_is_positive(surface, dense):
    expected = gauss_newton(surface)
    assert (expected - dense).abs().max() > 0.01  # it is not the Hessian
    found = columns(hessian_product(surface, "gauss-newton"), surface.size)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
    assert torch.linalg.eigvalsh(found).min() > -1e-12


class OnceOnly(torch.autograd.Function):
    """tanh, whose backward pass is computed outside of autograd."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.tanh())
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad * (1 - ctx.saved_tensors[0].square())


class OnceDifferentiable(Network):
    def forward(self, x):
        hidden = OnceOnly.apply(self.first(x)) * torch.sigmoid(self.second(x))
        return self.output(hidden)


def test_custom_functions_are_found_where_autograd_would_be_silently_wrong(surface, dense):
    custom = surface_of(OnceDifferentiable())
    # What the check is for: torch raises nothing, and the product is wrong.
    vector = torch.ones(custom.size).double()
    loss = sum(loss_of(custom.model, batch) for batch in custom.batches) / custom.weight
    used = [p for name, p in zip(custom.names, custom.parameters, strict=True) if name != "unused"]
    gradients = torch.autograd.grad(loss, used, create_graph=True)
    wrong = torch.autograd.grad(sum(g.sum() for g in gradients), used)
    assert (torch.cat([w.flatten() for w in wrong]) - (dense @ vector)[2:]).abs().max() > 0.01

    assert why_not_double(surface) is None and choose_method(surface) == "double"
    assert why_not_double(custom).startswith("OnceOnly has a backward pass of its own")
    assert choose_method(custom) == "difference"
    with pytest.raises(NotTwiceDifferentiable, match="OnceOnly"):
        hessian_product(custom)(vector)
    found = hessian_product(custom, "difference")(vector)
    torch.testing.assert_close(found, dense @ vector, rtol=0, atol=1e-8)
    gauss = hessian_product(custom, "gauss-newton")(vector)  # by differences of the logits
    torch.testing.assert_close(gauss, gauss_newton(surface) @ vector, rtol=0, atol=1e-8)


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        torch.manual_seed(2)
        self.layer, self.output = layer, nn.Linear(4, 4)

    def forward(self, x):
        return self.output(self.layer(x.view(-1, 1, 3))[0].flatten(0, 1))


@pytest.mark.parametrize("layer", [nn.LSTM(3, 4), LSTMLayer(3, 4)])
def test_fused_lstm_kernels_of_float32_are_replaced_by_plain_ones(layer):
    surface = surface_of(Recurrent(layer), dtype=torch.float32)
    assert choose_method(surface) == "double"
    vector = torch.randn(surface.size, generator=torch.Generator().manual_seed(1))
    found = hessian_product(surface)(vector)
    exact = surface_of(Recurrent(layer), dtype=torch.float64)
    torch.testing.assert_close(
        found.double(), hessian_product(exact, "difference")(vector), rtol=1e-3, atol=1e-6
    )


def test_zoneout_has_differences_only():
    surface = surface_of(Recurrent(LSTMLayer(3, 4, zoneout_cell=0.1)))
    assert choose_method(surface) == "difference"
    assert "ZoneoutRecurrence" in why_not_double(surface)


def test_plain_kernels_are_given_back():
    before = torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled
    with pytest.raises(KeyError), plain_kernels():
        assert not torch.backends.mkldnn.enabled and not torch.backends.cudnn.enabled
        raise KeyError
    assert (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled) == before


def test_attention_is_differentiated_twice():
    model = Recurrent(nn.Identity())
    model.layer = SelfAttention()
    surface = surface_of(model, dtype=torch.float32)
    assert choose_method(surface) == "double"
    vector = torch.ones(surface.size)
    exact = surface_of(model, dtype=torch.float64)
    found, expected = hessian_product(surface)(vector), hessian_product(exact, "difference")(vector)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-5)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(3, 4)

    def forward(self, x):
        x = self.project(x).transpose(0, 1).unsqueeze(1)
        x = nn.functional.scaled_dot_product_attention(x, x, x)
        return x.squeeze(1).transpose(0, 1), None


def test_step_is_the_published_one():
    assert relative_step(torch.float64) == pytest.approx(2.0 ** (-52 / 3))


def test_refuses_unknown_methods_and_surfaces_without_logits(surface):
    with pytest.raises(ValueError, match="'exact' is no way to multiply"):
        hessian_product(surface, "exact")
    surface.outputs_of = None
    with pytest.raises(ValueError, match="needs the logits"):
        hessian_product(surface, "gauss-newton")
