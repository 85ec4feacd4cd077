"""The language-model recipes as people call them, on little text and with tiny models."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT


def run(script: str, *args: object) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "scripts" / script), *map(str, args)]
    env = {
        **os.environ,
        **{"BAS_PYTHON": sys.executable, "BAS_SKIP_SETUP": "1", "OMP_NUM_THREADS": "1"},
    }
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_awd_lstm_trains_fine_tunes_and_evaluates(tmp_path: Path) -> None:
    args = ["--budget", "small", "--epochs", 1, "--replicas", 2, "--out", tmp_path]
    first = run("train_ptb_awd_lstm.sh", *args)
    assert first.returncode == 0, first.stderr
    found = re.findall(r"perplexity after (\S+): valid (\S+), test (\S+)", first.stdout)
    assert [stage for stage, *_ in found] == ["training", "fine-tuning"]
    (_, valid, _), (_, tuned, _) = found
    assert 50 < float(tuned) < float(valid) < 600
    # What fairseq-eval-lm finds for the best checkpoint is what validation found in training.
    (work,) = (tmp_path / "small").glob("M2-*")
    text = (work / "train.log").read_text(encoding="utf-8")
    (logged,) = map(json.loads, re.findall(r"\| valid \| (\{.*\})", text))
    assert float(logged["valid_ppl"]) == pytest.approx(float(valid), abs=0.01)
    assert '"train_bas_replicas": "2"' in text
    assert "averaging of weights starts" in (work / "fine-tuned/train.log").read_text("utf-8")
    before = files(tmp_path)
    second = run("train_ptb_awd_lstm.sh", *args)
    assert re.findall(r"perplexity after.*", second.stdout) == re.findall(
        r"perplexity after.*", first.stdout
    )
    assert files(tmp_path) == before


@pytest.mark.slow
def test_other_flags_do_not_pass_for_a_finished_run(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.mkdir()
    for split in ("train", "valid", "test"):
        (text / f"{split}.txt").write_text("a b c\n" * 200, encoding="utf-8")
    out = ["--corpus", text, "--out", tmp_path / "out", "--budget", "small", "--epochs", 1]
    result = run("train_ptb_zoneout.sh", *out)
    assert result.returncode == 0, result.stderr
    assert re.search(r"perplexity after training: valid \d", result.stdout)
    (made,) = (tmp_path / "out").rglob("M1-*/.made")
    made.write_text(made.read_text().replace("0.002", "0.003"))
    result = run("train_ptb_zoneout.sh", *out)
    assert result.returncode == 1
    assert "was made with other options" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--budget", "tiny"], "--budget tiny is not known"),
        (["--replicas", "0"], "0 is not a whole number"),
        (["--epochs"], "--epochs needs a value"),
        (["--speed", "1"], "unknown option --speed"),
        (["--corpus", "{tmp}/none"], "{tmp}/none is not a folder"),
        (["--corpus", "{tmp}"], "{tmp}/train.txt is missing or empty"),
        (["--devices", "99"], "--devices 99 is more than the"),
    ],
)
def test_wrong_options_are_one_line(args: list[str], message: str, tmp_path: Path) -> None:
    args = [arg.format(tmp=tmp_path) for arg in args]
    result = run("train_wikitext2_awd_lstm.sh", "--out", tmp_path / "out", *args)
    assert result.returncode == 1
    assert message.format(tmp=tmp_path) in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "script",
    ["train_ptb_awd_lstm.sh", "train_wikitext2_awd_lstm.sh", "train_ptb_zoneout.sh"],
)
def test_help_says_goal_hardware_and_every_option(script: str) -> None:
    result = run(script, "--help")
    assert result.returncode == 0
    for word in ("Goal:", "Hardware:", "Time:", "--replicas M", "--corpus DIR", "--budget small"):
        assert word in result.stdout
    assert "source" not in result.stdout


@pytest.mark.slow
def test_the_quickstart_ends_with_a_table(tmp_path: Path) -> None:
    args = ["--budget", "small", "--updates", 20, "--replicas", 2, "--out", tmp_path]
    result = run("quickstart.sh", "--lm", *args)
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    (copies,) = (row for row in rows if row[:3] == ["copies", "2", "20"])
    assert int(copies[4].replace(",", "")) == 2 * int(copies[3].replace(",", ""))
    assert ["Kneser-Ney", "5-gram"] in [row[:2] for row in rows]
    assert "copies (M = 2) has a test perplexity of" in result.stdout
    assert (tmp_path / "small/learning_curves.png").exists()
