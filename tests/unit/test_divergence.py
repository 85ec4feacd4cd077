"""Divergences of any number of copies against pairwise definitions and autograd in float64."""

import itertools

import pytest
import torch

from fairseq_bas.nn.divergence import DIVERGENCES, Predictions

C, V = 4, 7


def kl(p, q):
    return (p.exp() * (p - q)).sum(-1)


def naive(kind, logits, target):
    """Return the divergence (C,) of logits (C, M, V), written out copy by copy."""
    copies = range(logits.size(1))
    z = [logits[:, m] for m in copies]
    lp = [x.log_softmax(-1) for x in z]
    pairs = list(itertools.permutations(copies, 2))
    if kind == "rdrop":
        return sum(kl(lp[i], lp[j]) for i, j in pairs) / len(pairs)
    if kind == "jsd":
        mean = (sum(x.exp() for x in lp) / len(lp)).log()
        return sum(kl(x, mean) for x in lp) / len(lp)
    if kind == "clean":
        return sum(kl(lp[0], x) for x in lp[1:]) / (len(lp) - 1)
    if kind == "mean-logits":
        mean = (sum(z) / len(z)).log_softmax(-1)
        return sum(kl(mean, x) for x in lp) / len(lp)
    if kind == "l2":
        return sum((z[i] - z[j]).pow(2).mean(-1) for i, j in pairs) / len(pairs)
    nll = [-x.gather(1, target[:, None])[:, 0] for x in lp]
    importance = -(sum((-x).exp() for x in nll) / len(nll)).log()
    return importance - sum(nll) / len(nll)


def predictions(logits, target):
    log_probs = logits.log_softmax(-1)
    return Predictions(logits, log_probs, log_probs.exp(), target)


def draw(copies, seed=0, spread=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(C, copies, V, dtype=torch.float64, generator=generator)
    return logits, torch.randint(V, (C,), generator=generator)


@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("copies", [2, 3, 5])
def test_value_and_gradient_are_those_of_the_definition(kind, copies):
    logits, target = draw(copies)
    free = logits.clone().requires_grad_()
    expected = naive(kind, free, target)
    # Tokens weigh differently, so that a gradient of another token's term would show.
    weight = torch.arange(1.0, C + 1, dtype=torch.float64)
    (weight * expected).sum().backward()
    value, gradient = DIVERGENCES[kind](predictions(logits, target))
    torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weight[:, None, None] * gradient, free.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_one_copy_is_no_distance_from_itself(kind):
    logits, target = draw(1)
    value, gradient = DIVERGENCES[kind](predictions(logits, target))
    assert value.shape == (C,) and gradient.shape == logits.shape
    assert not value.any() and not gradient.any()


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_equal_copies_have_none_and_others_have_the_right_sign(kind):
    logits, target = draw(1)
    value, gradient = DIVERGENCES[kind](predictions(logits.expand(C, 4, V), target))
    torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)
    logits, target = draw(4)
    value, _ = DIVERGENCES[kind](predictions(logits, target))
    assert (value < 0).all() if kind == "log-mean-exp" else (value > 0).all()


@pytest.mark.parametrize("kind", [kind for kind in DIVERGENCES if kind != "clean"])
def test_the_order_of_copies_does_not_matter(kind):
    logits, target = draw(4)
    order = torch.tensor([2, 0, 3, 1])
    value, gradient = DIVERGENCES[kind](predictions(logits, target))
    other, shuffled = DIVERGENCES[kind](predictions(logits[:, order], target))
    torch.testing.assert_close(value, other, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient[:, order], shuffled, rtol=1e-12, atol=1e-14)


def test_of_two_copies_by_hand():
    """With p = (3/4, 1/4), q = (1/4, 3/4): KL both ways is log(3) / 2."""
    logits = torch.tensor([[[3.0, 1.0], [1.0, 3.0]]], dtype=torch.float64).log()
    given = predictions(logits, torch.tensor([0]))
    log3 = torch.tensor(3.0, dtype=torch.float64).log()
    value = {kind: function(given)[0].item() for kind, function in DIVERGENCES.items()}
    assert value["rdrop"] == pytest.approx(log3.item() / 2, rel=1e-12)
    assert value["clean"] == pytest.approx(log3.item() / 2, rel=1e-12)
    assert value["l2"] == pytest.approx(log3.item() ** 2, rel=1e-12)
    half = torch.tensor(0.5, dtype=torch.float64)
    assert value["mean-logits"] == pytest.approx(
        (half * (half / 0.75).log() + half * (half / 0.25).log()).item(), rel=1e-12
    )
    entropy = -(0.75 * torch.tensor(0.75).double().log() + 0.25 * torch.tensor(0.25).double().log())
    assert value["jsd"] == pytest.approx((-half.log() - entropy).item(), rel=1e-12)
    assert value["log-mean-exp"] == pytest.approx(
        (-half.log() + (torch.tensor(0.75 * 0.25).double().log()) / 2).item(), rel=1e-12
    )


def test_vanishing_probabilities_stay_finite():
    logits = torch.tensor([[[0.0, -2000.0], [-2000.0, 0.0]]])
    for kind, function in DIVERGENCES.items():
        value, gradient = function(predictions(logits, torch.tensor([0])))
        assert value.isfinite().all() and gradient.isfinite().all(), kind
