"""R-Drop with M = 2: the published formula, and fairseq's own criterion with its faults."""

import copy

import pytest
import torch

from fairseq_bas.nn.consistent_loss import consistent_smoothed_loss
from fairseq_bas.replicate import replicate
from tests.toys import tiny_transformer
from tests.unit.test_update import Setup, Sum

ALPHA = 5.0
FAIRSEQS = (
    *("--criterion", "label_smoothed_cross_entropy_with_rdrop"),
    *("--rdrop-alpha", ALPHA, "--label-smoothing", 0.1),
)


def published(logits, target, epsilon):
    """Sum over tokens -log p(y) - log q(y) + alpha (KL(p||q) + KL(q||p)) / 2, smoothed."""
    p, q = logits[:, 0].log_softmax(-1), logits[:, 1].log_softmax(-1)
    off = epsilon / (p.size(-1) - 1)

    def entropy(lprobs):
        gold = lprobs.gather(-1, target[:, None])[:, 0]
        return -(1 - epsilon - off) * gold - off * lprobs.sum(-1)

    kl = (p.exp() * (p - q)).sum(-1) + (q.exp() * (q - p)).sum(-1)
    return (entropy(p) + entropy(q) + ALPHA * kl / 2).sum()


def test_loss_and_gradient_are_the_published_ones():
    """Check in float64 that ours, times M, is R-Drop's with alpha / 2 as the weight."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(6, 2, 5, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(12, 5, dtype=torch.float64, generator=generator).requires_grad_()
    target = torch.randint(12, (6,), generator=generator)
    expected = published(features @ weight.t(), target, 0.1)
    ours, *_ = consistent_smoothed_loss(
        features, weight, None, target, 0.1, "rdrop", ALPHA / 2, chunk_tokens=4
    )
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)
    tensors = (features, weight)
    for one, other in zip(
        torch.autograd.grad(ours, tensors), torch.autograd.grad(expected, tensors), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def in_float64(net_output, log_probs, sample=None):
    """Stand in for a model's ``get_normalized_probs``, which casts to float32."""
    lprobs = net_output[0].log_softmax(-1)
    return lprobs if log_probs else lprobs.exp()


class CopiesTogether:
    """A model that gives fairseq's criterion, which stacks copies, the outputs of adjacent ones."""

    def __init__(self, model):
        self.model = model

    def __call__(self, **net_input):
        size = net_input["src_tokens"].size(0)
        adjacent = torch.arange(size).view(2, -1).t().flatten()
        logits, extra = self.model(**{k: v[adjacent] for k, v in net_input.items()})
        return logits[adjacent.argsort()], extra

    def __getattr__(self, name):
        return getattr(self.model, name)


def test_fairseqs_criterion_is_twice_ours_for_the_same_masks(toy):
    """Its loss is a sum over two copies, and it divides it by the tokens of one."""
    ours = Setup(
        toy,
        tiny_transformer,
        *("--criterion", "bas_cross_entropy", "--label-smoothing", 0.1, "--bas-replicas", 2),
        *("--bas-consistency", "rdrop", "--bas-consistency-weight", ALPHA / 2),
        dropout=0.3,
    )
    del ours.model.get_normalized_probs
    theirs = Setup(toy, tiny_transformer, *FAIRSEQS, dropout=0.3, task="translation")
    theirs.model.get_normalized_probs = in_float64
    theirs.model.load_state_dict(ours.model.state_dict())
    loss, sample_size, log, gradients = ours.step(update_num=3)

    ours.task._copies(ours.sample, range(2), 3)  # seeds dropout as the step above did
    theirs.model.train()
    other, other_size, other_log = theirs.criterion(
        CopiesTogether(theirs.model), copy.deepcopy(theirs.sample)
    )
    Sum().backward(other)
    assert float(other) == pytest.approx(2 * float(loss), rel=1e-11)
    for parameter, gradient in zip(theirs.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient, rtol=1e-9, atol=1e-11)
    # The fault: twice the loss for as many tokens; ours is a mean over copies.
    assert other_size == sample_size == ours.sample["ntokens"]
    assert float(other_log["nll_loss"]) == pytest.approx(2 * float(log["nll_loss"]), rel=1e-11)
    assert float(other_log["rdrop_kl_loss"]) == pytest.approx(
        float(log["bas_consistency"]), rel=1e-11
    )


def test_fairseqs_criterion_doubles_validation_and_changes_the_sample(toy):
    """Its two other faults, which ours does not have."""
    theirs = Setup(toy, tiny_transformer, *FAIRSEQS, task="translation")
    theirs.model.get_normalized_probs = in_float64
    ours = Setup(
        toy,
        tiny_transformer,
        *("--criterion", "bas_cross_entropy", "--label-smoothing", 0.1, "--bas-replicas", 2),
        *("--bas-consistency", "rdrop"),
    )
    del ours.model.get_normalized_probs
    ours.model.load_state_dict(theirs.model.state_dict())
    rows = len(ours.sample["id"])
    one = ours.task.valid_step(ours.sample, ours.model, ours.criterion)
    two = theirs.task.valid_step(theirs.sample, theirs.model, theirs.criterion)
    assert float(two[0]) == pytest.approx(2 * float(one[0]), rel=1e-11)
    # Its copies are equal here, so their divergence is 0 and all of the excess is the doubling.
    for key in ("loss", "nll_loss"):
        assert float(two[2][key]) == pytest.approx(2 * float(one[2][key]), rel=1e-11)
    assert float(two[2]["rdrop_kl_loss"]) == pytest.approx(0, abs=1e-10)
    assert two[1] == one[1]
    assert len(ours.sample["net_input"]["src_tokens"]) == rows
    assert len(theirs.sample["net_input"]["src_tokens"]) == 2 * rows


@pytest.mark.parametrize("kind", ["rdrop", "jsd", "clean", "mean-logits", "l2", "log-mean-exp"])
@pytest.mark.parametrize("layout", [["--bas-placement", "passes"], ["--bas-replicas-per-pass", 2]])
def test_copies_in_other_passes_are_compared_exactly(toy, kind, layout):
    """Law 2: M = 4 in several passes gives the value and gradient of one pass; noise is ours."""
    flags = [
        *("--criterion", "bas_cross_entropy", "--bas-replicas", 4, "--bas-consistency", kind),
        *("--bas-source-noise", "drop=0.3,jitter=0.3", "--bas-target-noise", "mask=0.3"),
        *("--bas-clean-replica", "--label-smoothing", 0.1),
    ]
    steps = []
    for extra in ([], layout):
        setup = Setup(toy, tiny_transformer, *flags, *extra)
        del setup.model.get_normalized_probs
        steps.append(setup.step())
    (loss, _, log, gradients), (other, _, other_log, other_gradients) = steps
    torch.testing.assert_close(loss, other, rtol=1e-6, atol=0)
    apart = float(log["bas_consistency"])
    assert apart == pytest.approx(float(other_log["bas_consistency"]), rel=1e-6) and apart
    for one, two in zip(gradients, other_gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)


def test_both_rounds_of_passes_see_the_same_dropout(toy):
    """The features that other passes are compared with are those they have in their own turn."""
    setup = Setup(
        toy,
        tiny_transformer,
        *("--criterion", "bas_cross_entropy", "--bas-replicas", 3, "--bas-placement", "passes"),
        *("--bas-consistency", "rdrop", "--bas-source-noise", "drop=0.2"),
        dropout=0.3,
    )
    del setup.model.get_normalized_probs
    seen = []
    norm = setup.model.decoder.layers[-1].final_layer_norm
    norm.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    setup.step()
    assert len(seen) == 6
    for first, second in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("kind", ["rdrop", "jsd", "mean-logits", "l2", "log-mean-exp"])
def test_noiseless_copies_have_nothing_to_agree_on(toy, kind):
    """Law 1 with consistency: M = 3 equal copies are the plain loss and gradient."""
    loss = ("--criterion", "bas_cross_entropy", "--label-smoothing", 0.1)
    plain = Setup(toy, tiny_transformer, *loss)
    ours = Setup(toy, tiny_transformer, *loss, "--bas-replicas", 3, "--bas-consistency", kind)
    for setup in (plain, ours):
        del setup.model.get_normalized_probs
    one, other = plain.step(), ours.step()
    torch.testing.assert_close(one[0], other[0], rtol=1e-6, atol=0)
    assert one[1] == other[1]
    for a, b in zip(one[3], other[3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_weight_warms_up_linearly(toy):
    flags = [
        *("--criterion", "bas_cross_entropy", "--bas-replicas", 2, "--bas-consistency", "rdrop"),
        *("--bas-consistency-weight", 2.0, "--bas-consistency-warmup", 10),
    ]
    criterion = Setup(toy, tiny_transformer, *flags).criterion
    assert [criterion._weight_at(u) for u in (0, 4, 9, 50)] == [0.2, 1.0, 2.0, 2.0]


def test_replicate_keeps_what_the_loss_needs():
    sample = {"id": torch.tensor([3]), "nsentences": 1, "ntokens": 2, "net_input": {}}
    copies = replicate(sample, range(2, 4), 8)
    assert copies["replicas"] == range(2, 4) and copies["rows_per_sentence"] == 2
