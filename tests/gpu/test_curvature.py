"""Hessian products on a GPU, where cuDNN and fused attention know their first derivative only."""

import copy

import pytest
import torch
from torch import nn

from fairseq_bas.measure.hessian_product import choose_method, hessian_product
from fairseq_bas.measure.lanczos import largest_eigenvalue
from fairseq_bas.measure.loss_surface import LossSurface
from fairseq_bas.measure.spectrum import density
from fairseq_bas.nn.lstm_layer import LSTMLayer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


class Recurrent(nn.Module):
    """An LSTM with dropout between its layers, and attention over its outputs."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.output = layer, nn.Linear(8, 1)

    def forward(self, x):
        x = self.layer(x)[0].transpose(0, 1).unsqueeze(1)
        return self.output(nn.functional.scaled_dot_product_attention(x, x, x))


def surface_of(model, device, dtype):
    x = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    model = copy.deepcopy(model).to(device, dtype).eval()
    return LossSurface(model, [x], lambda model, x: model(x).square().sum(), 15.0)


@pytest.mark.parametrize("kind", ["torch", "fairseq_bas"])
def test_products_equal_those_of_the_cpu(kind):
    torch.manual_seed(1)
    model = Recurrent(nn.LSTM(4, 8, 2, dropout=0.5) if kind == "torch" else LSTMLayer(4, 8))
    exact = surface_of(model, "cpu", torch.float64)
    surface = surface_of(model, "cuda", torch.float32)
    assert choose_method(surface) == "double"
    vector = torch.randn(surface.size, generator=torch.Generator().manual_seed(2)).double()
    expected = hessian_product(exact)(vector)
    for method, error in (("double", 1e-4), ("difference", 2e-2)):
        found = hessian_product(surface, method)(vector).cpu().double()
        assert (found - expected).norm() < error * expected.norm(), method
    gradient = surface.gradient().cpu().double()
    torch.testing.assert_close(gradient, exact.gradient(), rtol=1e-3, atol=1e-5)
    assert surface.model.layer.training is False


def test_spectrum_takes_vectors_to_the_device_of_the_model():
    torch.manual_seed(1)
    model = Recurrent(LSTMLayer(4, 8))
    values = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
        surface = surface_of(model, device, dtype)
        product, n, place = hessian_product(surface), surface.size, surface.device
        generator = torch.Generator().manual_seed(3)
        top, _ = largest_eigenvalue(product, n, generator, device=place)
        found = density(product, n, 5, 2, generator, dtype, place)
        values.append((top, found.moment(1), found.moment(2)))
    assert values[1] == pytest.approx(values[0], rel=1e-3)
