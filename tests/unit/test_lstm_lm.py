"""The LSTM language model: output layers, regularisation, masks, generation, life cycle."""

import copy

import pytest
import torch
from torch.nn import functional

from fairseq_bas.criterion.adaptive import adaptive_nll
from fairseq_bas.criterion.projection import projection_of
from fairseq_bas.nn.carried_state import CarriedState
from tests.unit.test_language_update import NO_DROPOUT, Setup

ADAPTIVE = ["--bas-adaptive-softmax-cutoff", "6,12"]
MIXTURE = ["--bas-softmaxes", 3, "--bas-output-dim", 10, "--bas-dropout-latent", 0]


def tokens(setup, rows=3, length=7):
    generator = torch.Generator().manual_seed(1)
    size = len(setup.task.dictionary)
    return torch.randint(4, size, (rows, length), generator=generator)


@pytest.mark.parametrize("flags", [[], ADAPTIVE, MIXTURE, ["--bas-untied", "--bas-output-dim", 10]])
def test_probabilities_sum_to_one_and_losses_are_theirs(toy_lm, flags):
    """Whatever the output layer, the criterion's loss is that of normalised probabilities."""
    setup = Setup(toy_lm, *NO_DROPOUT, *flags)
    batch = setup.batches()[0]
    output = setup.model.eval()(**batch["net_input"])
    decoder = setup.model.decoder
    log_probs = (
        decoder.adaptive_softmax.get_log_prob(output[0], None)
        if decoder.adaptive_softmax
        else output[0].log_softmax(-1)
    )
    sums = log_probs.exp().sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-9, atol=0)
    expected = -log_probs.gather(-1, batch["target"][..., None]).sum()
    setup.model.train()
    setup.criterion.train()
    loss = setup.update([batch])[0]
    # What is no single linear layer goes through log-probabilities in float32.
    exact = flags not in (ADAPTIVE, MIXTURE)
    assert loss == pytest.approx(float(expected), rel=1e-10 if exact else 1e-6)


def full_log_probs(softmax, features):
    """Multiply out the clusters: log p(cluster) + log p(word in it)."""
    head = softmax.head(features).log_softmax(-1)
    first = softmax.cutoff[0]
    tails = [
        head[:, first + number, None] + tail(features).log_softmax(-1)
        for number, tail in enumerate(softmax.tail)
    ]
    return torch.cat([head[:, :first], *tails], -1)


def test_adaptive_loss_has_the_gradient_of_all_log_probabilities(toy_lm):
    """Only the clusters of the targets are computed, and the gradient is that of all of them."""
    softmax = Setup(toy_lm, *NO_DROPOUT, *ADAPTIVE).model.decoder.adaptive_softmax
    features = torch.randn(11, 16, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([4, 5, 7, 1, 13, 14, 4, 9, 1, 15, 6])
    nll = adaptive_nll(softmax, features, target, padding_idx=1)
    full = -full_log_probs(softmax, features).gather(-1, target[:, None])[:, 0]
    full = full.masked_fill(target == 1, 0)
    torch.testing.assert_close(nll.double(), full, rtol=1e-5, atol=1e-6)
    parameters = [features, *softmax.parameters()]
    mine = torch.autograd.grad(nll.sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad(full.sum(), parameters)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    few = adaptive_nll(softmax, features, torch.full((11,), 4), padding_idx=1)
    assert all(g is not None for g in torch.autograd.grad(few.sum(), parameters))


def test_chunked_loss_of_the_tied_layer_is_plain_cross_entropy(toy_lm):
    """The gradient of the shared embedding adds up both of its uses."""
    setup = Setup(toy_lm, *NO_DROPOUT)
    assert projection_of(setup.model).weight is setup.model.decoder.embed_tokens.weight
    batch = setup.batches()[0]
    gradients = setup.update([batch])[3]
    setup.model.zero_grad()
    logits, _ = setup.model(**batch["net_input"])
    functional.cross_entropy(
        logits.flatten(0, 1), batch["target"].flatten(), reduction="sum"
    ).backward()
    for mine, parameter in zip(gradients, setup.model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-10, atol=1e-12)


def test_activation_regularisation_is_added_once_a_token(toy_lm):
    """The loss grows by tokens * (ar * mean h^2 + tar * mean (h[t+1] - h[t])^2)."""
    plain = Setup(toy_lm, *NO_DROPOUT)
    both = Setup(toy_lm, *NO_DROPOUT, "--bas-ar", 2, "--bas-tar", 1)
    batch = plain.batches()[0]
    one, other = plain.update([batch]), both.update([batch])
    hidden = plain.model(**batch["net_input"])[1]["raw"]
    penalty = 2 * hidden.pow(2).mean() + (hidden[1:] - hidden[:-1]).pow(2).mean()
    assert other[0] - one[0] == pytest.approx(batch["ntokens"] * float(penalty), rel=1e-9)
    assert other[2]["bas_activation"] == pytest.approx(batch["ntokens"] * float(penalty), rel=1e-9)
    assert other[2]["nll_loss"] == pytest.approx(one[2]["nll_loss"], rel=1e-12)


def replica_losses(setup, update_num=5):
    log = setup.update([setup.batches()[0]], update_num)[2]
    return [log[f"bas_nll_replica_{replica}"] for replica in range(3)]


@pytest.mark.parametrize("noise", [["--bas-weight-drop", 0.4], ["--bas-dropout-embedding", 0.4]])
def test_masks_of_a_forward_pass_are_shared_as_asked(toy_lm, noise):
    """Rows of a pass share them; each pass, or each copy, or nobody draws its own."""
    flags = [*NO_DROPOUT, *noise, "--bas-replicas", 3]
    passes = [*flags, "--bas-placement", "passes"]

    def distinct(*extra):
        return len({round(loss, 9) for loss in replica_losses(Setup(toy_lm, *extra))})

    assert distinct(*flags) == 1
    assert distinct(*passes) == 3
    assert distinct(*passes, "--bas-forward-masks", "update") == 1
    assert distinct(*flags, "--bas-forward-masks", "copy") == 3


def test_masks_shared_by_an_update_change_with_the_next(toy_lm):
    """--bas-forward-masks update draws from the number of the update."""
    flags = [*NO_DROPOUT, "--bas-weight-drop", 0.4, "--bas-replicas", 3]
    setup = Setup(toy_lm, *flags, "--bas-forward-masks", "update")
    one, again, other = (replica_losses(setup, number)[0] for number in (5, 5, 6))
    assert one == pytest.approx(again, rel=1e-12) and one != pytest.approx(other, rel=1e-6)


def test_windows_and_single_steps_are_the_whole_text(toy_lm):
    """Carried state and incremental state give the logits of one pass over everything."""
    setup = Setup(toy_lm, "--bas-zoneout-cell", 0.3, "--bas-zoneout-hidden", 0.1)
    model, text = setup.model.eval(), tokens(setup)
    whole, _ = model(text)
    state, steps = CarriedState(), {}
    windows = [model(part, state=state)[0] for part in text.split([3, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(windows, 1), whole, rtol=1e-10, atol=1e-12)
    single = [model(text[:, : t + 1], incremental_state=steps)[0] for t in range(text.size(1))]
    torch.testing.assert_close(torch.cat(single, 1), whole, rtol=1e-10, atol=1e-12)


def test_hypotheses_change_places_with_their_state(toy_lm):
    """After reordering, each row goes on from the text of the row it came from."""
    setup = Setup(toy_lm, *NO_DROPOUT)
    model, text = setup.model.eval(), tokens(setup)
    steps = {}
    for t in range(4):
        model(text[:, : t + 1], incremental_state=steps)
    order = torch.tensor([2, 0, 2])
    model.decoder.reorder_incremental_state(steps, order)
    after, _ = model(text[:, :5], incremental_state=steps)
    expected, _ = model(torch.cat([text[order, :4], text[:, 4:5]], 1))
    torch.testing.assert_close(after[:, -1], expected[:, -1], rtol=1e-10, atol=1e-12)


def test_model_survives_modes_copies_and_files(toy_lm, tmp_path):
    """Evaluation after training is deterministic, and copies and reloaded models agree."""
    setup = Setup(toy_lm)
    text = tokens(setup)
    before = setup.model.eval()(text)[0]
    setup.update([setup.batches()[0]])
    assert not torch.equal(setup.model.train()(text)[0], before)
    torch.save(setup.model.state_dict(), tmp_path / "model.pt")
    other = Setup(toy_lm).model
    torch.nn.init.zeros_(other.decoder.embed_tokens.weight)
    other.load_state_dict(torch.load(tmp_path / "model.pt"))
    for model in (setup.model, copy.deepcopy(setup.model), other):
        assert torch.equal(model.eval()(text)[0], before)
