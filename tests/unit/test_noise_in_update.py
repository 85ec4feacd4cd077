"""Laws 1 to 4 with noise on: real fairseq tasks and models in one process, float64."""

import copy

import pytest
import torch

from tests.toys import tiny_lstm, tiny_transformer
from tests.unit import test_update

BAS = ("--criterion", "bas_cross_entropy")
EVERYTHING = {
    "tokens": (
        *("--bas-source-noise", "drop=0.2,mask=0.1,replace=0.1,shuffle=3,switchout=1,bigram=0.2"),
        *("--bas-target-noise", "mask=0.1,replace=0.1,switchout=1,bigram=0.2,bigram-labels=0.2"),
    ),
    "embeddings": (
        *("--bas-source-noise", "cutoff=0.2,feature-cutoff=0.1,span-cutoff=0.2,jitter=0.3"),
        *("--bas-target-noise", "cutoff=0.2,feature-cutoff=0.1,span-cutoff=0.2,jitter=0.3"),
    ),
    "mix": ("--bas-source-noise", "mix=0.5,drop=0.2", "--bas-target-noise", "mix=0.5"),
    "varied": (
        *("--bas-source-noise", "drop=0.1,cutoff=0.1", "--bas-target-noise", "mask=0.1,cutoff=0.1"),
        *("--bas-clean-replica", "--bas-graded-noise", "--bas-complementary-noise"),
    ),
}
NOISES = pytest.mark.parametrize("noise", EVERYTHING)
MODELS = pytest.mark.parametrize("flags", [tiny_transformer, tiny_lstm])


class Setup(test_update.Setup):
    """With ``bas_cross_entropy`` the model keeps its methods, which that loss goes around."""

    def __init__(self, toy, flags, *extra, **kwargs):
        super().__init__(toy, flags, *extra, **kwargs)
        if BAS[1] in extra:
            del self.model.get_normalized_probs


def place(copies, *layout):
    return ("--bas-replicas", copies, *layout)


PASSES = ("--bas-placement", "passes")
WORKERS = ("--bas-placement", "workers", "--distributed-world-size", 2, "--distributed-no-spawn")


def assert_close(one, other, tolerance):
    torch.testing.assert_close(one[0], other[0], rtol=tolerance, atol=0)
    assert one[1] == other[1]
    for a, b in zip(one[3], other[3], strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@MODELS
@NOISES
def test_placement_changes_nothing(toy, flags, noise):
    """Law 2: all noise of ours is on, the model's dropout off, M = 4 in every placement."""
    extra = (*BAS, *EVERYTHING[noise])
    rows = Setup(toy, flags, *place(4), *extra).step()
    for layout, workers in (
        (PASSES, 1),
        (("--bas-replicas-per-pass", 2), 1),
        (WORKERS, 2),
    ):
        other = Setup(toy, flags, *place(4, *layout), *extra).step(workers=workers)
        assert_close(rows, other, 1e-6 if flags is tiny_transformer else 1e-10)
    plain = Setup(toy, flags, *place(4), *BAS).step()
    assert abs(plain[0] - rows[0]) > 1e-6  # the noise is there


@MODELS
@pytest.mark.parametrize("noise", [name for name in EVERYTHING if name != "mix"])
def test_micro_batches_do_not_matter(toy, flags, noise):
    """The noise of a sentence does not depend on its company (mixing does: it needs partners)."""
    setup = Setup(toy, flags, *place(2), *BAS, *EVERYTHING[noise])
    whole = setup.step()
    dataset, parts = setup.task.dataset("train"), []
    for ids in ((4, 9), (2, 11, 7)):
        setup.sample = dataset.collater([dataset[i] for i in ids])
        parts.append(setup.step())
    torch.testing.assert_close(whole[0], parts[0][0] + parts[1][0], rtol=1e-6, atol=0)
    for a, b, c in zip(whole[3], parts[0][3], parts[1][3], strict=True):
        torch.testing.assert_close(a, b + c, rtol=1e-5, atol=1e-6)


@NOISES
def test_noise_is_another_in_every_update_and_copy(toy, noise):
    setup = Setup(toy, tiny_transformer, *place(3, *PASSES), *BAS, *EVERYTHING[noise])
    losses = {round(float(setup.step(update_num)[0]), 9) for update_num in (3, 4, 5, 3)}
    assert len(losses) == 3
    copies = setup.step()[2]
    by_copy = {round(float(copies[f"bas_nll_replica_{m}"]), 6) for m in range(3)}
    assert len(by_copy) == 3


@NOISES
def test_caller_and_validation_see_no_noise(toy, noise):
    """Law 4."""
    ours = Setup(toy, tiny_transformer, *place(4), *BAS, *EVERYTHING[noise], dropout=0.3)
    before = copy.deepcopy(ours.sample)
    ours.step()
    assert str(ours.sample) == str(before)
    plain = Setup(toy, tiny_transformer, *BAS, dropout=0.3, task="translation")
    plain.model.load_state_dict(ours.model.state_dict())
    a = ours.task.valid_step(ours.sample, ours.model, ours.criterion)
    b = plain.task.valid_step(plain.sample, plain.model, plain.criterion)
    assert torch.equal(a[0], b[0]) and a[1] == b[1] and a[2].keys() == b[2].keys()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in ours.model.modules())


def test_clean_replica_is_the_plain_sentence(toy):
    noise = ("--bas-source-noise", "drop=0.5", "--bas-target-noise", "mask=0.5,jitter=1")
    ours = Setup(toy, tiny_transformer, *place(2), *BAS, *noise, "--bas-clean-replica").step()
    plain = Setup(toy, tiny_transformer, *BAS).step()
    clean, whole = ours[2]["bas_nll_replica_0"], plain[2]["nll_loss"]
    torch.testing.assert_close(clean, whole, rtol=1e-6, atol=0)
    assert ours[2]["bas_nll_replica_1"] != ours[2]["bas_nll_replica_0"]


def test_mixing_interpolates_inputs_and_labels(toy):
    """By hand: embeddings through a model without attention over others, M = 1, two sentences."""
    setup = Setup(
        toy,
        tiny_transformer,
        *BAS,
        *("--bas-source-noise", "mix=0.5", "--bas-target-noise", "mix=0.5"),
        *("--label-smoothing", 0.1),
    )
    seen = {}
    task, model = setup.task, setup.model
    apply = task.copy_noise.apply

    def remember(copies, update_num):
        seen["copies"] = apply(copies, update_num)
        return seen["copies"]

    task.copy_noise.apply = remember
    loss = setup.step()[0]
    copies = seen["copies"]
    partner, weight = copies["mix_partner"], copies["mix_weight"]
    assert sorted(partner.tolist()) == list(range(5)) and (partner != torch.arange(5)).all()
    assert (weight >= 0.5).all() and (weight <= 1).all()

    def mixed(tokens):
        embedding = model.encoder.embed_tokens(tokens)
        other = embedding[partner]
        share = weight[:, None, None] * tokens[partner].ne(1)[..., None]
        share = torch.where(tokens[partner].ne(1)[..., None], weight[:, None, None], 1.0)
        return share * embedding + (1 - share) * other

    net_input, tables = copies["net_input"], {}
    for name in ("src_tokens", "prev_output_tokens"):
        tables[net_input[name].data_ptr()] = mixed(net_input[name])
    hook = model.encoder.embed_tokens.register_forward_hook(
        lambda m, args, out: tables[args[0].data_ptr()]
    )
    logits = model(**net_input)[0]
    hook.remove()
    target, other = copies["target"], copies["mix_target"]
    lprobs = logits.log_softmax(-1)
    eps_i = 0.1 / (logits.size(-1) - 1)

    def smoothed(label):
        gold = lprobs.gather(-1, label[..., None])[..., 0]
        return -(1 - 0.1 - eps_i) * gold - eps_i * lprobs.sum(-1)

    own = torch.where(other.ne(1), weight[:, None], 1.0)
    by_token = own * smoothed(target) + (1 - own) * smoothed(other)
    expected = by_token[target.ne(1)].sum()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-6, atol=0)


@MODELS
@pytest.mark.parametrize("split", ["encoder", "output"])
def test_shared_trunk_without_noise_is_one_copy(toy, flags, split):
    """Law 1 for partial replication."""
    plain = Setup(toy, flags, task="translation").step()
    for layout in ((), PASSES):
        ours = Setup(toy, flags, *place(4, *layout), "--bas-share", split).step()
        assert_close(plain, ours, 1e-6 if flags is tiny_transformer else 1e-12)


@pytest.mark.parametrize("split", ["encoder", "output"])
def test_shared_trunk_runs_once_and_copies_differ_after_it(toy, split):
    setup = Setup(toy, tiny_transformer, *place(4), *BAS, "--bas-share", split, dropout=0.3)
    rows = {"encoder": [], "decoder": []}
    for part, sizes in rows.items():
        layer = getattr(setup.model, part).layers[0].fc1
        layer.register_forward_hook(lambda m, i, out, sizes=sizes: sizes.append(out.size(1)))
    log = setup.step()[2]
    assert rows == {"encoder": [5], "decoder": [20 if split == "encoder" else 5]}
    assert len({round(float(log[f"bas_nll_replica_{m}"]), 6) for m in range(4)}) == 4


def test_output_dropout_is_multi_sample_dropout(toy):
    """The mean over copies of the loss of dropped-out features, by hand."""
    setup = Setup(
        toy,
        tiny_transformer,
        *place(3),
        *("--bas-share", "output", "--bas-output-dropout", 0.4, "--label-smoothing", 0),
    )
    masks = []
    functional = torch.nn.functional.dropout

    def remember(x, p, training):
        out = functional(x, p, training)
        if p == 0.4:
            masks.append((out, x))
        return out

    torch.nn.functional.dropout = remember
    try:
        loss = setup.step()[0]
    finally:
        torch.nn.functional.dropout = functional
    ((dropped, features),) = masks
    kept = dropped.ne(0)
    assert 0.5 < kept.double().mean() < 0.7
    torch.testing.assert_close(dropped[kept], features[kept] / 0.6)
    lprobs = setup.model.decoder.output_layer(dropped.detach()).log_softmax(-1)
    target = setup.sample["target"].repeat_interleave(3, dim=0)
    nll = -lprobs.gather(-1, target[..., None])[..., 0][target.ne(1)].sum() / 3
    torch.testing.assert_close(loss, nll.detach(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("masks", ["pass", "update"])
def test_layer_drop_varies_by_pass_or_by_update(toy, masks):
    setup = Setup(
        toy,
        tiny_transformer,
        *place(6, *PASSES),
        *("--encoder-layers", 4, "--encoder-layerdrop", 0.5, "--bas-forward-masks", masks),
    )
    ran = []
    for number, layer in enumerate(torch.nn.ModuleList.__iter__(setup.model.encoder.layers)):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    starts = []
    setup.model.encoder.register_forward_pre_hook(lambda *_: starts.append(len(ran)))
    choices = []
    for update_num in range(4):
        ran.clear(), starts.clear()
        task, sample = setup.task, setup.sample
        task.train_step(sample, setup.model, setup.criterion, test_update.Sum(), update_num)
        ends = [*starts[1:], len(ran)]
        choices.append([tuple(ran[a:b]) for a, b in zip(starts, ends, strict=True)])
    assert all(len(passes) == 6 for passes in choices)
    distinct = [len(set(passes)) for passes in choices]
    assert distinct == [1] * 4 if masks == "update" else max(distinct) > 1
    assert len({passes[0] for passes in choices}) > 1  # another choice in another update


def test_number_of_distinct_copies_is_logged(toy):
    setup = Setup(toy, tiny_transformer, *place(4), "--bas-source-noise", "mask=0.3")
    seen = []
    apply = setup.task.copy_noise.apply

    def remember(copies, update_num):
        seen.append(apply(copies, update_num))
        return seen[-1]

    setup.task.copy_noise.apply = remember
    counts = []
    for update_num in range(5):
        counts.append(int(setup.step(update_num)[2]["bas_distinct"]))
        rows = seen[-1]["net_input"]["src_tokens"].unflatten(0, (-1, 4)).tolist()
        assert counts[-1] == sum(len({tuple(row) for row in copies}) for copies in rows)
    assert min(counts) < 20  # some copies of these short sentences are equal
    passes = Setup(toy, tiny_transformer, *place(4, *PASSES), "--bas-source-noise", "mask=0.3")
    assert int(passes.step(4)[2]["bas_distinct"]) == counts[4]
