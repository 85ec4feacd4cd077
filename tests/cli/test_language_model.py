"""Language models through fairseq's own commands, and what they say to bad input."""

import math
import re

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_bas.errors import UserError
from tests.processes import USER_DIR, json_log, run_cli
from tests.toys import tiny_awd_lstm_lm, tiny_lstm_lm
from tests.unit.test_language_update import Setup

PERPLEXITY = re.compile(r"Perplexity: ([0-9.]+)")


@pytest.fixture(scope="module")
def trained(toy_lm, tmp_path_factory):
    """Train an AWD-LSTM for two epochs; return its folder and the run."""
    folder = tmp_path_factory.mktemp("language-model")
    flags = [*tiny_awd_lstm_lm(toy_lm, folder), "--bas-replicas", 2, "--max-epoch", 2]
    return folder, run_cli("fairseq_cli.train", *flags, "--no-epoch-checkpoints")


def whole_text_perplexity(folder, toy_lm):
    """Return exp of the mean loss of the validation text in one forward pass, in float64."""
    path = str(folder / "checkpoint_last.pt")
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [path], arg_overrides={"data": str(toy_lm.bin)}
    )
    task.load_dataset("valid")
    labels = torch.from_numpy(task.dataset("valid").tokens).long()
    inputs = torch.cat([torch.tensor([task.dictionary.eos()]), labels[:-1]])
    logits, _ = model.double().eval()(inputs[None])
    return math.exp(torch.nn.functional.cross_entropy(logits[0], labels))


def test_perplexity_is_that_of_the_whole_text_whatever_the_batch(trained, toy_lm):
    """fairseq-train, fairseq-validate and fairseq-eval-lm agree, at any batch and window size."""
    folder, run = trained
    expected = whole_text_perplexity(folder, toy_lm)
    last = json_log(run, "valid")[-1]
    assert 2 ** float(last["valid_loss"]) == pytest.approx(expected, rel=1e-3)
    common = [toy_lm.bin, "--cpu", "--user-dir", USER_DIR, "--path", folder / "checkpoint_last.pt"]
    common += ["--task", "bas_language_modeling"]
    found = []
    for sizes in (["--batch-size", 1], ["--batch-size", 7, "--tokens-per-sample", 5]):
        out = run_cli("fairseq_cli.eval_lm", *common, "--gen-subset", "valid", *sizes)
        found.append(float(PERPLEXITY.findall(out.stdout + out.stderr)[-1]))
    assert found == pytest.approx([expected] * 2, abs=0.01)
    out = run_cli("fairseq_cli.validate", *common, "--batch-size", 3, "--valid-subset", "valid")
    loss = float(re.findall(r"\| loss ([0-9.]+)", out.stdout + out.stderr)[-1])
    assert 2**loss == pytest.approx(expected, rel=1e-3)


def test_blocks_train_the_same_model(toy_lm, tmp_path):
    """Blocks of fairseq's, shuffled, of whole sentences with padding, are read without a state."""
    flags = [*tiny_awd_lstm_lm(toy_lm, tmp_path), "--bas-batching", "blocks", "--bas-ar", 1]
    flags += ["--sample-break-mode", "eos", "--bas-replicas", 2, "--max-update", 4]
    run = run_cli("fairseq_cli.train", *flags, "--disable-validation")
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)
    assert state["extra_state"]["train_iterator"]["bas_companions"]["streams"] == {}
    assert float(json_log(run, "train_inner")[-1]["bas_replicas"]) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bas-source-noise", "mask=0.1"], "no source to change in a language model"),
        (["--bas-share", "encoder"], "no encoder to share"),
        (["--bas-batching", "blocks", "--bas-variable-bptt"], "--bas-variable-bptt has no meaning"),
        (["--bas-offset-copies"], "there is one; raise --bas-replicas"),
        (
            ["--bas-replicas", 2, "--bas-offset-copies", "--bas-share-state"],
            "--bas-share-state",
        ),
        (["--bas-valid-streams", 0], "--bas-valid-streams 0 reads nothing"),
        (["--add-bos-token"], "--add-bos-token is for blocks"),
        (["--output-dictionary-size", 9], "leaves out words that the model reads"),
        (["--batch-size", 100000], "streams cannot be cut from"),
        (["--bas-weight-drop", 1.5], "--bas-weight-drop 1.5 is out of range"),
        (["--bas-output-dim", 8], "--bas-untied too"),
        (
            ["--bas-replicas", 2, "--bas-offset-copies", "--bas-consistency", "l2"],
            "--bas-offset-copies lets them read others",
        ),
    ],
)
def test_flags_that_contradict_each_other_are_one_line(toy_lm, flags, message):
    """Refused before training, in one sentence."""
    with pytest.raises(UserError, match=re.escape(message)) as refusal:
        Setup(toy_lm, *flags).batches()
    assert str(refusal.value).count(". ") == 0


def test_regularisation_without_layers_for_it_is_one_line(toy_lm):
    """A model of fairseq's does not tell its activations."""
    flags = ["--criterion", "bas_cross_entropy", "--bas-ar", 2]
    with pytest.raises(UserError, match="--bas-ar and --bas-tar regularise the layers of"):
        Setup(toy_lm, *flags, model=tiny_lstm_lm)


def test_missing_text_is_one_line(toy_lm, tmp_path):
    """A folder without the text is named, with what to pass."""
    (tmp_path / "dict.txt").write_bytes((toy_lm.bin / "dict.txt").read_bytes())
    flags = tiny_awd_lstm_lm(toy_lm, tmp_path / "run")
    run = run_cli("fairseq_cli.train", tmp_path, *flags[1:], check=False)
    assert run.returncode == 1
    assert "holds no valid.idx; pass the --destdir" in run.stderr.splitlines()[-1]
