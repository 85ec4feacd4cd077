"""The neural cache against loops over its definition in float64."""

import math

import pytest
import torch

from fairseq_bas.nn.neural_cache import NeuralCache, interpolate

T, H, V = 60, 3, 5


@pytest.fixture
def text():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(T, H, generator=generator, dtype=torch.float64)
    words = torch.randint(V, (T,), generator=generator)
    log_model = torch.randn(T, generator=generator, dtype=torch.float64) - 2
    return hidden, words, log_model


def loop(hidden, words, step, window, theta):
    """Return p_cache of every word at a step, by the definition."""
    mass = [0.0] * V
    for past in range(max(0, step - window), step):
        product = sum(float(a) * float(b) for a, b in zip(hidden[step], hidden[past], strict=True))
        mass[int(words[past])] += math.exp(theta * product)
    return [part / sum(mass) for part in mass]


@pytest.mark.parametrize("cuts", [[T], [1, 4, 20, 35], [1] * T], ids=["once", "uneven", "single"])
@pytest.mark.parametrize("chunk", [1, 4, 256])
@pytest.mark.parametrize("window", [1, 7, 100])
def test_equals_loop(text, cuts, chunk, window):
    hidden, words, log_model = text
    thetas = [0.0, 0.4, 3.0]
    cache = NeuralCache(window, thetas, chunk)
    parts = zip(*(tensor.split(cuts) for tensor in (hidden, words, log_model)), strict=True)
    found = torch.cat([cache.log_prob(*part) for part in parts], dim=1)
    assert found.shape == (3, T)
    assert (found[:, 0] == log_model[0]).all()
    for theta, row in zip(thetas, found.exp().tolist(), strict=True):
        expected = [
            loop(hidden, words, step, window, theta)[int(words[step])] for step in range(1, T)
        ]
        assert row[1:] == pytest.approx(expected, rel=1e-12, abs=0)
        assert window > 1 or 0 in row


def test_probabilities_of_all_words_add_up_to_one(text):
    hidden, words, log_model = text
    total = 0.0
    for word in range(V):
        cache = NeuralCache(10, [0.7])
        cache.log_prob(hidden[:30], words[:30], log_model[:30])
        log_prob = cache.log_prob(hidden[30:31], torch.tensor([word]), log_model[30:31])
        total += interpolate(torch.tensor(1 / V).log(), log_prob, 0.3).exp().item()
    assert total == pytest.approx(1)


def test_large_theta_is_the_nearest_neighbour(text):
    hidden, words, log_model = text
    found = NeuralCache(T, [1e6]).log_prob(hidden, words, log_model)[0]
    for step in range(1, T):
        nearest = max(range(step), key=lambda past: float(hidden[step] @ hidden[past]))
        assert (found[step] > -1e-3) == (words[nearest] == words[step])


def test_half_precision_is_computed_in_float32_and_without_gradient(text):
    hidden, words, log_model = text
    hidden = hidden.half().requires_grad_()
    found = NeuralCache(9, [0.5]).log_prob(hidden, words, log_model.half())
    exact = NeuralCache(9, [0.5]).log_prob(hidden.double(), words, log_model.half())
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


def test_memory_is_that_of_the_window(text):
    hidden, words, log_model = text
    cache = NeuralCache(4, [0.5], chunk=8)
    for _ in range(3):
        cache.log_prob(hidden, words, log_model)
    held = [value for value in vars(cache).values() if isinstance(value, torch.Tensor)]
    assert held
    assert sorted(tensor.untyped_storage().nbytes() for tensor in held) == [4 * 8, 4 * H * 8]


def test_interpolation_by_hand():
    model, cache = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.0, 1.0]).log()
    torch.testing.assert_close(interpolate(model, cache, 0.2).exp(), torch.tensor([0.4, 0.6]))
    assert interpolate(model, cache, 0).equal(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, [1.0]), "remembers none"),
        ((3, []), "theta"),
        ((3, [-1.0]), "theta"),
        ((3, [math.nan]), "theta"),
        ((3, [1.0], 0), "chunk"),
    ],
)
def test_refuses_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        NeuralCache(*arguments)


def test_refuses_shapes_and_weights(text):
    hidden, words, log_model = text
    with pytest.raises(ValueError, match="do not fit"):
        NeuralCache(3, [1.0]).log_prob(hidden[:5], words, log_model)
    for weight in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="lambda"):
            interpolate(log_model, log_model, weight)
