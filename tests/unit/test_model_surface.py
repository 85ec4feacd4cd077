"""Checkpoints as loss surfaces: the loss is fairseq's own, the text fixed, and misuse refused."""

import argparse

import pytest
import torch
from fairseq import checkpoint_utils, criterions

from fairseq_bas.data.fixed_text import windows
from fairseq_bas.data.streams import StreamText
from fairseq_bas.measure.hessian_product import why_not_double
from fairseq_bas.tool.model_surface import load_surface, require_same_text
from fairseq_bas.tool.surface_options import add_surface_arguments, surface_paths
from tests.in_process import train_here
from tests.toys import tiny_awd_lstm_lm, tiny_bas_lstm, tiny_transformer

UPDATES = ("--max-update", 4, "--no-epoch-checkpoints", "--disable-validation")


@pytest.fixture(scope="module")
def checkpoints(toy, toy_lm, tmp_path_factory):
    """Train one model of each kind for four updates; return name -> (data, checkpoint)."""
    folder = tmp_path_factory.mktemp("surfaces")
    flags = {
        "transformer": tiny_transformer(toy, folder / "transformer"),
        "noised": [
            *tiny_transformer(toy, folder / "noised", task="bas_translation"),
            *("--bas-replicas", 2, "--bas-source-noise", "drop=0.3"),
        ],
        "lstm": tiny_bas_lstm(toy, folder / "lstm"),
        "language": tiny_awd_lstm_lm(toy_lm, folder / "language"),
    }
    for name in flags:
        train_here([*flags[name], *UPDATES])
    return {
        name: (toy_lm.bin if name == "language" else toy.bin, folder / name / "checkpoint_last.pt")
        for name in flags
    }


def load(case, *flags):
    parser = argparse.ArgumentParser()
    add_surface_arguments(parser)
    data, path = case
    words = [data, "--path", path, "--cpu", *flags]
    args = parser.parse_args([str(word) for word in words])
    return load_surface(args, str(path))


def fairseq_loss(path, loaded, smoothing):
    """Return the mean loss per token of fairseq's criterion, in eval mode, on a valid iterator."""
    [model], _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    task.load_dataset(loaded.facts["split"])
    criterion = criterions.build_criterion(
        argparse.Namespace(
            criterion="label_smoothed_cross_entropy",
            label_smoothing=smoothing,
            report_accuracy=False,
            ignore_prefix_size=0,
            sentence_avg=False,
        ),
        task,
    )
    batches = task.get_batch_iterator(
        task.dataset(loaded.facts["split"]), max_tokens=100, max_positions=(1024, 1024)
    ).next_epoch_itr(shuffle=False)
    total, tokens = 0.0, 0
    for batch in batches:
        loss, size, _ = criterion(model.eval(), batch)
        total, tokens = total + float(loss), tokens + int(size)
    return total / tokens, tokens


@pytest.mark.parametrize("name", ["transformer", "noised", "lstm"])
@pytest.mark.parametrize(("loss", "smoothing"), [("nll", 0.0), ("smoothed", 0.1)])
def test_loss_is_that_of_fairseq_without_noise(checkpoints, name, loss, smoothing):
    loaded = load(checkpoints[name], "--split", "valid", "--loss", loss)
    expected, tokens = fairseq_loss(checkpoints[name][1], loaded, smoothing)
    assert loaded.surface.loss() == pytest.approx(expected, rel=1e-5)
    assert loaded.facts["tokens"] == tokens and loaded.facts["sentences"] == 12
    assert loaded.facts["smoothing"] == smoothing


def test_noise_of_training_does_not_reach_the_training_split(checkpoints):
    plain, noised = (load(checkpoints[name]) for name in ("transformer", "noised"))
    assert noised.facts["subset"] == plain.facts["subset"]
    first, second = (
        [batch["net_input"]["src_tokens"] for batch in loaded.surface.batches]
        for loaded in (plain, noised)
    )
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_micro_batches_change_neither_text_nor_loss(checkpoints):
    few, many = (
        load(checkpoints["transformer"], "--sentences", 20, "--max-tokens", size)
        for size in (10_000, 30)
    )
    assert len(few.surface.batches) == 1 and len(many.surface.batches) > 4
    assert max(batch["target"].numel() for batch in many.surface.batches) <= 30
    assert few.facts == many.facts and few.facts["sentences"] == 20
    assert few.surface.loss() == pytest.approx(many.surface.loss(), rel=1e-6)
    torch.testing.assert_close(few.surface.gradient(), many.surface.gradient())


def test_seed_chooses_the_sentences(checkpoints):
    one, other = (load(checkpoints["lstm"], "--sentences", 20, "--seed", seed) for seed in (1, 2))
    assert one.facts["subset"] != other.facts["subset"]
    with pytest.raises(ValueError, match="read different text"):
        require_same_text([one.facts, other.facts])


def test_language_model_reads_windows_from_a_zero_state(checkpoints):
    loaded = load(checkpoints["language"], "--sentences", 7)
    surface = loaded.surface
    assert loaded.facts["sentences"] == 7 and loaded.facts["tokens"] == 7 * 12
    total = 0.0
    for batch in surface.batches:
        for tokens, target in zip(batch["net_input"]["src_tokens"], batch["target"], strict=True):
            assert torch.equal(tokens[1:], target[:-1])
            logits, _ = surface.model(tokens[None])
            total += float(torch.nn.functional.cross_entropy(logits[0], target, reduction="sum"))
    assert surface.loss() == pytest.approx(total / (7 * 12), rel=1e-6)


def test_windows_cut_a_text_without_gaps():
    text = StreamText([torch.arange(10, 33)], end_of_sentence=2)
    found = windows(text, 5, 100, seed=1, max_tokens=11)
    assert [len(batch["target"]) for batch in found.batches] == [2, 2]
    targets = torch.cat([batch["target"] for batch in found.batches]).flatten()
    assert targets.tolist() == list(range(10, 30)) and found.tokens == 20
    assert found.batches[0]["net_input"]["src_tokens"][0].tolist() == [2, 10, 11, 12, 13]
    assert windows(text, 5, 2, seed=1, max_tokens=99).sentences == 2
    assert windows(text, 500, 2, seed=1, max_tokens=99).tokens == 23


def test_facts_count_tied_parameters_once(checkpoints):
    _, path = checkpoints["transformer"]
    loaded = load(checkpoints["transformer"], "--float64")
    facts = loaded.facts
    assert facts["parameters"] == loaded.surface.size
    state = checkpoint_utils.load_checkpoint_to_cpu(str(path))["model"]
    assert loaded.surface.size < sum(weight.numel() for weight in state.values())
    assert (facts["updates"], facts["dtype"], facts["device"]) == (4, "float64", "cpu")
    assert loaded.surface.dtype == torch.float64 and not loaded.surface.model.training


def test_way_to_multiply_by_the_hessian_of_each_model(checkpoints):
    assert why_not_double(load(checkpoints["transformer"]).surface) is None
    assert why_not_double(load(checkpoints["language"]).surface) is None
    # On a CPU padded sentences go through a recurrence with a backward pass of its own.
    assert "ZoneoutRecurrence" in why_not_double(load(checkpoints["lstm"]).surface)


def test_refuses_what_it_cannot_read(checkpoints, toy, toy_lm, tmp_path):
    language, translation = checkpoints["language"], checkpoints["transformer"]
    for case, flags, message in (
        (language, ("--loss", "smoothed"), None),
        (translation, ("--split", "none"), "holds no none"),
        ((toy_lm.bin, translation[1]), (), "names the languages"),
        ((toy.bin, language[1]), (), r"dict\.txt does not exist"),
        ((toy.bin, tmp_path / "no.pt"), (), "does not exist; check --path"),
    ):
        if message is None:
            assert load(case, *flags).facts["smoothing"] == 0
            continue
        with pytest.raises(ValueError, match=message):
            load(case, *flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--sentences", "0"), "--sentences 0 reads nothing"),
        (("--max-tokens", "-1"), "--max-tokens -1 reads nothing"),
        (("--seed", "-1"), "--seed -1 is negative"),
        ((), "checkpoint a does not exist"),
    ],
)
def test_refuses_arguments_before_loading(flags, message):
    parser = argparse.ArgumentParser()
    add_surface_arguments(parser)
    with pytest.raises(ValueError, match=message):
        surface_paths(parser.parse_args(["data", "--path", "a:b", *flags]))
