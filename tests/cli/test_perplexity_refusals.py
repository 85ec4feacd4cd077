"""``fairseq-bas perplexity`` refuses what has no meaning in one line."""

import argparse
import copy
import re
import subprocess
import sys

import pytest
import torch
from fairseq import tasks

from tests.cli.test_perplexity import perplexity
from tests.in_process import train_here
from tests.processes import USER_DIR
from tests.toys import tiny_awd_lstm_lm


@pytest.fixture(scope="module")
def best(toy_lm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("perplexity")
    train_here([*tiny_awd_lstm_lm(toy_lm, folder), "--max-epoch", 1, "--no-epoch-checkpoints"])
    return folder / "checkpoint_best.pt"


def refusal(capsys, *args):
    """Return the only line that a refused command writes."""
    assert perplexity(*args) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"fairseq-bas perplexity: [^\n]+\n", captured.err), captured.err
    return captured.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tune"], "--tune has nothing to choose"),
        (["--tune-tokens", 5], "--tune-tokens has no meaning without --tune"),
        (["--cache", "--tune", "--tune-tokens", 0], "reads nothing"),
        (["--cache-lambda", 1], "lambda 1.0"),
        (["--cache-theta", -1], "theta"),
        (["--cache-window", 0], "remembers none"),
        (["--dynamic-segment", 0], "holds no token"),
        (["--dynamic-rule", "sgd"], "pass --dynamic-lr"),
        (["--dynamic-streams", 0], "--dynamic-streams 0"),
        (["--dynamic-epsilon", 0], "epsilon 0.0"),
        (["--dynamic-rule", "sgd", "--dynamic-lr", 1, "--dynamic-epsilon", 1], "no meaning"),
        (["--dynamic-lr", 0], "learning rate 0.0"),
        (["--split", "nothing"], "holds no nothing.idx"),
        (["--json", "missing/out.json"], "cannot be written"),
        (["--dynamic-rule", "sgd", "--dynamic-lr", 1e38], "diverged"),
    ],
)
def test_refuses_flags(best, toy_lm, capsys, flags, message):
    assert message in refusal(capsys, toy_lm.bin, "--path", best, "--cpu", *flags)


def test_refuses_checkpoints(best, toy_lm, capsys, tmp_path):
    best = best
    state = torch.load(best, weights_only=True)
    flags = {"tokens_per_sample": 20, "decoder_embed_dim": 16, "decoder_hidden_size": 16}
    flags |= {"decoder_out_embed_dim": 16, "criterion": "cross_entropy"}
    args = argparse.Namespace(arch="lstm_lm", **flags)
    task = tasks.setup_task(argparse.Namespace(task="language_modeling", data=str(toy_lm.bin)))
    plain = tmp_path / "plain.pt"
    weights = task.build_model(copy.copy(args)).state_dict()
    torch.save({**state, "cfg": {**state["cfg"], "model": args}, "model": weights}, plain)
    assert "carries no state" in refusal(capsys, toy_lm.bin, "--path", plain)
    assert "does not exist" in refusal(capsys, toy_lm.bin, "--path", tmp_path / "none.pt")
    assert "one twice" in refusal(capsys, toy_lm.bin, "--path", f"{best}:{best}")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(best.read_bytes()[:999])
    assert "incomplete or damaged" in refusal(capsys, toy_lm.bin, "--path", cut)
    state["cfg"]["model"]["_name"] = "transformer"
    torch.save(state, tmp_path / "translation.pt")
    line = refusal(capsys, toy_lm.bin, "--path", tmp_path / "translation.pt")
    assert "transformer, which is not a language model" in line


def test_refuses_another_dictionary(best, tmp_path, capsys, toy_lm):
    (tmp_path / "dict.txt").write_text("one 1\ntwo 1\n", encoding="utf-8")
    for suffix in ("idx", "bin"):
        (tmp_path / f"test.{suffix}").write_bytes((toy_lm.bin / f"test.{suffix}").read_bytes())
    assert "do not fit" in refusal(capsys, tmp_path, "--path", best)


def test_wrong_usage_is_found_before_fairseq_is_imported(toy_lm):
    code = "import sys; from fairseq_bas import cli; r = cli.main(sys.argv[1:]); "
    code += "assert 'torch' not in sys.modules; sys.exit(r)"
    result = subprocess.run(
        [sys.executable, "-c", code, "perplexity", str(toy_lm.bin), "--path", "x", "--tune"],
        capture_output=True,
        text=True,
        cwd=USER_DIR.parent,
    )
    assert result.returncode == 1
    assert "nothing to choose" in result.stderr
