"""Adversarial copies of a language model's windows, in float64, against a model written out."""

import pytest
import torch

from tests.unit import test_language_update
from tests.unit.test_adversarial_update import PADDING, along, attacked


class Unrolled:
    """A language model of LSTM layers, written out, whose output layer is its embedding."""

    def __init__(self, model):
        self.decoder = model.decoder

    def loss(self, embedded, target, state):
        """Return the summed nll; ``state`` is (h, c) of each layer, changed in place."""
        x = embedded
        for number, layer in enumerate(self.decoder.layers):
            h, c = state[number]
            outputs = []
            for step in x.unbind(1):
                gates = step @ layer.weight_ih_l0.t() + layer.bias_ih_l0
                gates = gates + h @ layer.weight_hh_l0.t() + layer.bias_hh_l0
                i, f, g, o = gates.chunk(4, dim=1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                outputs.append(h)
            state[number] = (h, c)
            x = torch.stack(outputs, dim=1)
        logits = x @ self.decoder.embed_tokens.weight.t() + self.decoder.output_projection.bias
        return -logits.log_softmax(-1).gather(-1, target[..., None]).sum()


def test_language_model_equals_an_unrolled_one(toy_lm):
    """Two windows of each stream: the second starts from the state of the moved first one."""
    flags = [*test_language_update.NO_DROPOUT, *attacked("fgsm"), "--bas-adversarial-share", 1]
    setup = test_language_update.Setup(toy_lm, *flags)
    windows = setup.batches()[:2]
    loss, *_, gradients = setup.update(windows)
    unrolled, total = Unrolled(setup.model), 0.0
    decoder = setup.model.decoder
    state = [
        tuple(torch.zeros(5, layer.weight_hh_l0.size(1), dtype=torch.float64) for _ in "hc")
        for layer in decoder.layers
    ]
    setup.model.zero_grad()
    for window in windows:
        tokens, target = window["net_input"]["src_tokens"], window["target"]
        embedding = decoder.embed_tokens(tokens)
        leaf = embedding.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(unrolled.loss(leaf, target, list(state)), leaf)
        moved = embedding + along(gradient, leaf.detach(), tokens.eq(PADDING))
        nll = unrolled.loss(moved, target, state)
        nll.backward()
        total += nll.detach()
        state = [(h.detach(), c.detach()) for h, c in state]
    assert loss == pytest.approx(float(total), rel=1e-10)
    for ours, p in zip(gradients, setup.model.parameters(), strict=True):
        torch.testing.assert_close(ours, p.grad, rtol=1e-8, atol=1e-10)
