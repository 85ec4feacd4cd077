"""The mixture of softmaxes against the sum of probabilities that it stands for."""

import pytest
import torch

from fairseq_bas.nn.mixture_of_softmaxes import MixtureOfSoftmaxes

INPUT, E, K, V = 5, 4, 3, 11


def mixture(**kwargs):
    torch.manual_seed(1)
    return MixtureOfSoftmaxes(INPUT, E, K, **kwargs).double()


def inputs():
    torch.manual_seed(2)
    return (
        torch.randn(2, 6, INPUT, dtype=torch.float64),
        torch.randn(V, E, dtype=torch.float64),
        torch.randn(V, dtype=torch.float64),
    )


def by_probabilities(module, features, weight, bias):
    """Sum pi_k * softmax(W tanh(L_k h + a_k) + b) over k, one feature vector at a time."""
    state = module.state_dict()
    rows = []
    for h in features.flatten(0, -2):
        prior = (state["prior.weight"] @ h).softmax(0)
        latent = (state["latent.weight"] @ h + state["latent.bias"]).tanh()
        parts = [
            prior[k] * (weight @ latent[k * E : (k + 1) * E] + bias).softmax(0) for k in range(K)
        ]
        rows.append(sum(parts))
    return torch.stack(rows).unflatten(0, features.shape[:-1])


def test_equals_the_sum_of_probabilities():
    module, args = mixture().eval(), inputs()
    torch.testing.assert_close(module(*args), by_probabilities(module, *args).log())


def test_probabilities_add_up_to_one_in_training_too():
    features, weight, bias = inputs()
    log_probs = mixture(dropout=0.5).train()(features, weight, bias)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 6, dtype=torch.float64))


def test_dropout_acts_in_training_only():
    module, args = mixture(dropout=0.5), inputs()
    assert not torch.equal(module.train()(*args), module(*args))
    torch.testing.assert_close(module.eval()(*args), by_probabilities(module, *args).log())


def test_rank_exceeds_that_of_one_softmax():
    features = torch.randn(40, INPUT, dtype=torch.float64)
    _, weight, bias = inputs()
    rank = torch.linalg.matrix_rank
    assert rank(mixture().eval()(features, weight, bias)) > E + 2
    single = (features[:, :E] @ weight.t() + bias).log_softmax(-1)
    assert rank(single) <= E + 2


def test_small_probabilities_survive_float16():
    module = mixture().half().eval()
    features, weight, bias = (x.half() for x in inputs())
    log_probs = module(features, 20 * weight, bias)
    assert log_probs.dtype == torch.float32
    assert log_probs.isfinite().all() and log_probs.min() < -25


def test_gradient_reaches_every_parameter():
    module, (features, weight, bias) = mixture(), inputs()
    weight.requires_grad_()
    module(features, weight, bias)[..., 0].sum().backward()
    for parameter in (weight, *module.parameters()):
        assert parameter.grad.abs().sum() > 0


def test_no_softmax_is_refused():
    with pytest.raises(ValueError, match="give 1 or more"):
        MixtureOfSoftmaxes(INPUT, E, 0)
