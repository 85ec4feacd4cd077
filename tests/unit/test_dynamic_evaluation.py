"""Dynamic evaluation against NumPy with gradients derived by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fairseq_bas.nn.dynamic_evaluation import (
    DivergedError,
    DynamicEvaluation,
    clipped_decays,
    gradient_rms,
)

V, H = 6, 3


class Bigram(nn.Module):
    """Logits of the next word E[word] @ E.T + b, with the embedding E used twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(V, H, dtype=torch.float64)
        self.output = nn.Linear(H, V, dtype=torch.float64)
        self.output.weight = self.embedding.weight

    def loss(self, words):
        logits = self.output(self.embedding(words[:-1]))
        return functional.cross_entropy(logits, words[1:])


def gradients(weight, bias, words):
    """Return the loss and its gradients by E and b, term by term."""
    d_weight, d_bias, loss = np.zeros_like(weight), np.zeros_like(bias), 0.0
    for word, label in pairwise(words):
        logits = weight @ weight[word] + bias
        probs = np.exp(logits) / np.exp(logits).sum()
        loss -= np.log(probs[label])
        error = probs - np.eye(V)[label]
        d_bias += error
        d_weight += np.outer(error, weight[word])
        d_weight[word] += error @ weight
    count = len(words) - 1
    return loss / count, d_weight / count, d_bias / count


def words_of(seed, count=7):
    return np.random.default_rng(seed).integers(0, V, count)


@pytest.fixture
def model():
    return Bigram().eval()


def arrays(model):
    return [parameter.detach().numpy().copy() for parameter in model.parameters()]


def rms_by_hand(start, batches):
    squares = [np.zeros_like(part) for part in start]
    for words in batches:
        for square, gradient in zip(squares, gradients(*start, words)[1:], strict=True):
            square += gradient**2
    return [np.sqrt(square / len(batches)) for square in squares]


BATCHES = [words_of(seed, 9) for seed in (5, 6, 7)]


def statistics(model):
    return gradient_rms(model, (model.loss(torch.tensor(words)) for words in BATCHES))


def test_rms_by_hand(model):
    before = arrays(model)
    for found, expected in zip(statistics(model), rms_by_hand(before, BATCHES), strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    for after, start in zip(arrays(model), before, strict=True):
        assert (after == start).all()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("decay", [0.0, 0.1, 0.9], ids=["free", "decay", "clipped"])
@pytest.mark.parametrize("rule", ["rms", "sgd"])
def test_path_equals_loop(model, rule, decay):
    lr, epsilon = 0.05, 1e-3
    start = arrays(model)
    rms = rms_by_hand(start, BATCHES)
    mean = sum(part.mean() for part in rms) / len(rms)
    rates = [lr / (part + epsilon) if rule == "rms" else lr + 0 * part for part in rms]
    decays = [np.minimum(decay * part / mean, 1) if rule == "rms" else decay for part in rms]
    assert (decay, rule) != (0.9, "rms") or any((part == 1).any() for part in decays)
    current, found, expected = [part.copy() for part in start], [], []
    collected = statistics(model) if rule == "rms" else None
    with DynamicEvaluation(model, lr, decay, collected, epsilon) as dynamic:
        for seed in range(6):
            words = words_of(seed)
            loss = model.loss(torch.tensor(words))
            dynamic.step(loss)
            found.append(loss.item())
            true, *slopes = gradients(*current, words)
            expected.append(true)
            for part, first, slope, rate, pull in zip(
                current, start, slopes, rates, decays, strict=True
            ):
                part += pull * (first - part) - rate * slope
        for part, parameter in zip(current, arrays(model), strict=True):
            np.testing.assert_allclose(parameter, part, rtol=1e-10, atol=1e-12)
    assert found == pytest.approx(expected, rel=1e-10)
    for after, first in zip(arrays(model), start, strict=True):
        assert (after == first).all()


def test_decay_is_normalised_by_the_mean_of_the_tensors_means():
    rms = [torch.tensor([1.0, 3.0]), torch.tensor([4.0])]  # means 2 and 4, their mean 3
    found = torch.cat(clipped_decays(rms, 0.9))
    torch.testing.assert_close(found, torch.tensor([0.3, 0.9, 1.0]))
    assert clipped_decays([torch.zeros(2)], 0.9)[0].tolist() == [0, 0]


def test_restores_after_an_error(model):
    before = arrays(model)
    with pytest.raises(KeyError), DynamicEvaluation(model, 0.5) as dynamic:
        dynamic.step(model.loss(torch.tensor(words_of(1))))
        assert not (arrays(model)[0] == before[0]).all()
        raise KeyError
    assert all((a == b).all() for a, b in zip(arrays(model), before, strict=True))


def test_frozen_and_unused_parameters_stay(model):
    model.output.bias.requires_grad_(False)
    model.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    rms = statistics(model)
    assert [part.shape for part in rms] == [(2,), (V, H)]
    bias = model.output.bias.clone()
    with DynamicEvaluation(model, 0.1, 0.1, rms) as dynamic:
        dynamic.step(model.loss(torch.tensor(words_of(1))))
        assert model.output.bias.equal(bias)
        assert model.unused.tolist() == [1, 1]


def test_refuses_training_mode(model):
    dynamic = DynamicEvaluation(model, 0.1)
    model.output.train()
    for call in (
        lambda: DynamicEvaluation(model, 0.1),
        lambda: dynamic.step(model.loss(torch.tensor(words_of(1)))),
        lambda: statistics(model),
    ):
        with pytest.raises(ValueError, match="training mode"):
            call()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0}, "learning rate"),
        ({"lr": float("inf")}, "learning rate"),
        ({"decay": -0.1}, "decay"),
        ({"decay": 1.1}, "overshoot"),
        ({"epsilon": 0}, "epsilon"),
        ({"rms": [torch.ones(1)]}, "another model"),
    ],
)
def test_refuses_settings(model, settings, message):
    with pytest.raises(ValueError, match=message):
        DynamicEvaluation(model, **{"lr": 0.1, **settings})


def test_refuses_no_data_and_divergence(model):
    with pytest.raises(ValueError, match="at least one"):
        gradient_rms(model, [])
    dynamic, before = DynamicEvaluation(model, 0.1), arrays(model)
    with pytest.raises(DivergedError, match="smaller learning rate"):
        dynamic.step(model.loss(torch.tensor(words_of(1))) * torch.nan)
    assert all((a == b).all() for a, b in zip(arrays(model), before, strict=True))
