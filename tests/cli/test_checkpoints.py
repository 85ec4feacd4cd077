"""Checkpoints at the command line: good ones load everywhere, bad ones get one line.

The task and the models are fairseq's own: making checkpoints loadable is the one thing the
plugin does for runs that use nothing else of it.
"""

import os
import shutil

import pytest
import torch

from fairseq_bas.cli import main
from tests.processes import USER_DIR, json_log, run_cli
from tests.toys import EVAL_BLEU, tiny_lstm

SAFE_LOADER_OFF = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
COMMON = ["--cpu", "--user-dir", USER_DIR, "--max-tokens", 500]
# fairseq leaves out the last batch where its size is no multiple of this, by default of 8.
ALL_SENTENCES = ["--required-batch-size-multiple", 1]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """Two epochs of an LSTM scored by BLEU: its checkpoint holds a Namespace and NumPy arrays."""
    save_dir = tmp_path_factory.mktemp("trained")
    run_cli("fairseq_cli.train", *tiny_lstm(toy, save_dir), *EVAL_BLEU, "--max-epoch", 2)
    return save_dir


class Payload:
    """Unpickles to a call of os.system that creates a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


@pytest.fixture
def evil(trained, tmp_path):
    """A checkpoint that is good but for a payload; the file it would create is ``trace``."""
    state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
    state["extra_state"]["payload"] = Payload(tmp_path / "trace")
    torch.save(state, tmp_path / "evil.pt")
    return tmp_path / "evil.pt"


def assert_refused(result, *parts):
    """The last line on standard error says all of ``parts``, and there is no traceback."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    for part in parts:
        assert str(part) in line


def test_resume(toy, trained):
    flags = [*tiny_lstm(toy, trained), *EVAL_BLEU, "--max-epoch", 3, "--no-save"]
    resumed = json_log(run_cli("fairseq_cli.train", *flags), "train_inner")
    last = torch.load(trained / "checkpoint_last.pt", weights_only=False)["optimizer_history"][-1]
    assert int(resumed[0]["num_updates"]) == last["num_updates"] + 1
    assert {line["epoch"] for line in resumed} == {3}


def test_generate(toy, trained):
    flags = [toy.bin, "--path", trained / "checkpoint_best.pt", *COMMON, *ALL_SENTENCES]
    result = run_cli("fairseq_cli.generate", *flags, "--max-len-b", 9)
    assert sum(line.startswith("H-") for line in result.stdout.splitlines()) == 12


def test_interactive(toy, trained):
    path = trained / "checkpoint_best.pt"
    flags = [toy.bin, "--path", path, *COMMON, "--max-len-b", 9]
    result = run_cli("fairseq_cli.interactive", *flags, stdin="one two\nthree\n")
    assert sum(line.startswith("H-") for line in result.stdout.splitlines()) == 2


def test_validate(toy, trained):
    flags = [toy.bin, "--path", trained / "checkpoint_best.pt", *COMMON, "--task", "translation"]
    result = run_cli("fairseq_cli.validate", *flags, *ALL_SENTENCES, *EVAL_BLEU[:3])
    assert "| bleu " in result.stdout + result.stderr


@pytest.mark.parametrize(
    "command, task",
    [("generate", []), ("interactive", []), ("validate", ["--task", "translation"])],
)
def test_code_in_a_checkpoint_is_refused(toy, evil, command, task):
    flags = [toy.bin, "--path", evil, *COMMON, *task]
    result = run_cli(f"fairseq_cli.{command}", *flags, check=False, env=SAFE_LOADER_OFF)
    assert_refused(result, evil, "was refused", "posix.system")
    assert not (evil.parent / "trace").exists()


def test_code_in_a_checkpoint_is_refused_by_eval_lm(toy_lm, evil):
    flags = [toy_lm.bin, "--path", evil, *COMMON]
    result = run_cli("fairseq_cli.eval_lm", *flags, check=False, env=SAFE_LOADER_OFF)
    assert_refused(result, evil, "was refused", "posix.system")
    assert not (evil.parent / "trace").exists()


def test_code_in_a_checkpoint_is_refused_by_train(toy, evil):
    flags = [*tiny_lstm(toy, evil.parent / "ck"), "--restore-file", evil, "--max-epoch", 3]
    result = run_cli("fairseq_cli.train", *flags, check=False, env=SAFE_LOADER_OFF)
    assert_refused(result, evil, "was refused", "posix.system")
    assert not (evil.parent / "trace").exists()
    assert list((evil.parent / "ck").glob("*.pt")) == []


def test_truncated_checkpoint_names_the_one_to_restore(toy, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "ck")
    os.truncate(tmp_path / "ck" / "checkpoint_last.pt", 9000)
    for name in ("checkpoint1.pt", "checkpoint_best.pt"):
        os.utime(tmp_path / "ck" / name, (1e9, 1e9))
    flags = [*tiny_lstm(toy, tmp_path / "ck"), *EVAL_BLEU, "--max-epoch", 3]
    result = run_cli("fairseq_cli.train", *flags, check=False)
    newest = tmp_path / "ck" / "checkpoint2.pt"
    assert_refused(result, "checkpoint_last.pt is incomplete", f"--restore-file {newest},")
    resumed = run_cli("fairseq_cli.train", *flags, "--restore-file", newest)
    assert {line["epoch"] for line in json_log(resumed, "train_inner")} == {3}


@pytest.mark.parametrize(
    "command",
    ["sharpness", "landscape", "hessian", "noise-scale", "replica-variance", "check"],
)
def test_code_in_a_checkpoint_is_refused_by_our_commands(toy, evil, command, capsys, monkeypatch):
    for name, value in SAFE_LOADER_OFF.items():
        monkeypatch.setenv(name, value)
    assert main([command, str(toy.bin), "--path", str(evil)]) == 1
    captured = capsys.readouterr()
    assert "posix.system" in captured.out + captured.err
    assert not (evil.parent / "trace").exists()


def test_code_is_no_text_to_score(toy, evil, capsys):
    assert main(["score", "--ref", str(evil), str(evil)]) == 1
    assert "\n" not in capsys.readouterr().err.strip()
    assert not (evil.parent / "trace").exists()


def test_code_in_a_checkpoint_is_refused_by_perplexity(toy_lm, evil, capsys):
    assert main(["perplexity", str(toy_lm.bin), "--path", str(evil)]) == 1
    assert "posix.system" in capsys.readouterr().err
    assert not (evil.parent / "trace").exists()
