"""Laws 1 and 2 for the LSTM translation model: real task, noise, sharing and masks, in float64."""

import pytest
import torch
from fairseq import tasks
from fairseq.data import Dictionary

from fairseq_bas.errors import UserError
from fairseq_bas.nn.activation_penalty import activation_penalty
from fairseq_bas.replicate import replicate
from tests.in_process import parts_of
from tests.toys import tiny_bas_lstm
from tests.unit import test_update
from tests.unit.test_update import LAYOUTS, assert_equal_steps

NOISE = (
    *("--bas-source-noise", "drop=0.2,shuffle=3,cutoff=0.2,jitter=0.3"),
    *("--bas-target-noise", "mask=0.2,jitter=0.3"),
)


class Setup(test_update.Setup):
    """``test_update.Setup`` for a model that has no ``--dropout``, with its own log-probabilities.

    The loss must go around the output layer, which methods put in the model's place prevent.
    """

    def __init__(self, toy, *extra, dropout=0.0, task="bas_translation"):
        args = [*tiny_bas_lstm(toy, "unused", task=task, dropout=dropout), *extra]
        cfg = parts_of(args)
        self.cfg, self.task = cfg, tasks.setup_task(cfg.task)
        torch.manual_seed(0)
        self.model = self.task.build_model(cfg.model).double()
        self.criterion = self.task.build_criterion(cfg.criterion)
        self.task.load_dataset("train")
        dataset = self.task.dataset("train")
        self.sample = dataset.collater([dataset[i] for i in (4, 9, 2, 11, 7)])


@pytest.fixture(scope="module")
def plain(toy):
    """A setup of fairseq's own task, and what a step of it returns."""
    setup = Setup(toy, task="translation")
    return setup, setup.step()


@pytest.mark.parametrize(("name", "copies", "extra", "workers"), LAYOUTS)
def test_noiseless_copies_equal_plain_fairseq(toy, plain, name, copies, extra, workers):
    """Law 1."""
    ours = Setup(toy, "--bas-replicas", copies, *extra).step(workers=workers)
    assert_equal_steps(plain[1], ours, 1e-11)


@pytest.mark.parametrize("split", ["encoder", "output"])
def test_copies_that_split_late_are_copies(toy, plain, split):
    ours = Setup(toy, "--bas-replicas", 3, "--bas-share", split).step()
    assert_equal_steps(plain[1], ours, 1e-11)


def test_loss_in_chunks_is_the_smoothed_loss(plain):
    """Against plain PyTorch, for the loss and every gradient."""
    plain, ours = plain
    plain.model.zero_grad()
    logits, _ = plain.model(**plain.sample["net_input"])
    log_probs = logits.log_softmax(-1)[plain.sample["target"].ne(1)]
    target = plain.sample["target"][plain.sample["target"].ne(1)]
    share = torch.full_like(log_probs, 0.1 / (log_probs.size(1) - 1))
    share.scatter_(1, target[:, None], 0.9)
    loss = -(share * log_probs).sum()
    loss.backward()
    torch.testing.assert_close(ours[0], loss.detach(), rtol=1e-11, atol=0)
    for mine, parameter in zip(ours[3], plain.model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-11, atol=1e-11)


def test_placement_changes_nothing_with_noise(toy):
    """Law 2, with noise of tokens and of embeddings on both sides."""
    rows = Setup(toy, "--bas-replicas", 4, *NOISE).step()
    for layout, workers in (
        (["--bas-placement", "passes"], 1),
        (["--bas-replicas-per-pass", 2], 1),
        (LAYOUTS[3][2], 2),
    ):
        other = Setup(toy, "--bas-replicas", 4, *NOISE, *layout).step(workers=workers)
        assert_equal_steps(rows, other, 1e-10)
    clean = Setup(toy, "--bas-replicas", 4).step()
    assert abs(clean[0] - rows[0]) > 1e-6


def test_passes_and_workers_agree_bit_for_bit_with_all_dropout(toy):
    flags = ("--bas-replicas", 4, "--bas-zoneout-cell", 0.2, "--bas-zoneout-hidden", 0.1)
    one = Setup(toy, *flags, "--bas-placement", "passes", dropout=0.3).step()
    two = Setup(toy, *flags, *LAYOUTS[3][2], dropout=0.3).step(workers=2)
    assert all(torch.equal(a, b) for a, b in zip(one[3], two[3], strict=True))


def weight_masks(setup):
    """Return the seeds and groups of encoder and decoder in each pass of an update."""
    seen = []
    for part in (setup.model.encoder, setup.model.decoder):
        part.register_forward_pre_hook(
            lambda part, _: seen.append((part.mask_groups, part.mask_seed))
        )
    setup.step()
    return seen


@pytest.mark.parametrize(
    ("share", "groups"), [("input", (3, 3)), ("encoder", (1, 3)), ("output", (1, 1))]
)
def test_masks_for_every_copy_go_to_the_parts_that_copies_run_through(toy, share, groups):
    setup = Setup(toy, "--bas-replicas", 3, "--bas-forward-masks", "copy", "--bas-share", share)
    assert weight_masks(setup) == [(groups[0], None), (groups[1], None)]
    assert (setup.model.encoder.mask_groups, setup.model.decoder.mask_groups) == (1, 1)


def test_passes_of_an_update_share_masks_where_that_is_asked_for(toy):
    flags = ("--bas-replicas", 2, "--bas-placement", "passes", "--bas-forward-masks")
    first, second = Setup(toy, *flags, "update"), Setup(toy, *flags, "pass")
    seeds = weight_masks(first)
    assert seeds[:2] == seeds[2:] and seeds[0][1] not in (None, seeds[1][1])
    assert {seed for _, seed in weight_masks(second)} == {None}


def test_rows_keep_their_copys_masks_when_words_are_dropped(toy):
    """Copy r is row r modulo R, though dropped words change which row is the longest."""
    flags = ("--bas-replicas", 3, "--bas-source-noise", "drop=0.5", "--bas-forward-masks")
    for masks in ("copy", "pass"):
        setup = Setup(toy, *flags, masks)
        copies = setup.task.copy_noise.apply(replicate(setup.sample, range(3), 3), 1)
        assert (copies["replica"].tolist() == [0, 1, 2] * 5) == (masks == "copy")


def test_activation_regularisation_is_of_the_decoders_last_layer(toy):
    plain, penalised = Setup(toy), Setup(toy, "--bas-ar", 2, "--bas-tar", 1)
    sample = plain.sample
    raw = plain.model.train()(**sample["net_input"])[1]["raw"]
    read = sample["net_input"]["prev_output_tokens"].ne(1).t()
    expected = activation_penalty(raw, raw, 2, 1, read) * sample["ntokens"]
    assert expected > 0 and raw.shape[:2] == read.shape
    difference = penalised.step()[0] - plain.step()[0]
    torch.testing.assert_close(difference, expected.detach(), rtol=1e-10, atol=0)


def test_shared_embeddings_are_one_parameter(toy):
    names = {}
    for shared in ("none", "decoder", "all"):
        model = Setup(toy, "--bas-share-embeddings", shared).model
        weights = (
            model.encoder.embed_tokens.weight,
            model.decoder.embed_tokens.weight,
            model.decoder.output_projection.weight,
        )
        names[shared] = len({id(weight) for weight in weights})
    assert names == {"none": 3, "decoder": 2, "all": 1}


def test_named_sizes_are_defaults_that_flags_overrule(toy):
    cfg = Setup(toy, "--arch", "bas_lstm_gnmt_small", "--bas-decoder-layers", 3).cfg.model
    assert (cfg.bas_encoder_layers, cfg.bas_decoder_layers, cfg.bas_hidden_dim) == (4, 3, 16)
    assert cfg.bas_residual and not Setup(toy).cfg.model.bas_residual


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--bas-hidden-dim", 0), ("--bas-decoder-layers", 0), ("--bas-zoneout-cell", 1)],
)
def test_bad_sizes_and_rates_are_refused(toy, flag, value):
    with pytest.raises(UserError, match=f"^{flag} {value}.* is out of range; "):
        Setup(toy, flag, value)


def test_two_dictionaries_cannot_share_one_embedding(toy):
    setup = Setup(toy)
    setup.task.tgt_dict = Dictionary()
    with pytest.raises(UserError, match=r"^--bas-share-embeddings all needs one dictionary"):
        setup.task.build_model(setup.cfg.model)
