"""The table, the sentence and the figure that end the quickstart of language models."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

SCRIPT = ROOT / "scripts/quickstart_lm_table.py"
KNESER_NEY = ROOT / "scripts/bench/kneser_ney.py"


def make_run(folder: Path, losses: list[float], test: float, *, replicas=1, seconds=60) -> None:
    """Write a run of 10 updates a validation and 100 tokens an update."""
    folder.mkdir(parents=True)
    lines = []
    for update, loss in zip(range(10, 1000, 10), losses, strict=False):
        values = {"epoch": 1, "num_updates": str(update), "train_wall": str(seconds), "wpb": "100"}
        values |= {"bas_wpb": str(100 * replicas), "bas_replicas": str(replicas)}
        lines.append(f"2026 | INFO | train_inner | {json.dumps(values)}")
        values = {"epoch": 1, "valid_loss": str(loss), "valid_num_updates": str(update)}
        values |= {"valid_ppl": str(2**loss)}
        lines.append(f"2026 | INFO | valid | {json.dumps(values)}")
    (folder / "train.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    log = f"INFO: other\nINFO:fairseq_cli.eval_lm:Loss (base 2): 7.0, Perplexity: {test:.2f}\n"
    (folder / "test.ppl").write_text(log, encoding="utf-8")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / f"corpus/{split}.txt").write_text("a b c a b\nb c a\nd\n", encoding="utf-8")
    make_run(tmp_path / "base", [9, 8, 7, 7.5], 140.0)
    return tmp_path


def run_table(work: Path, *runs: str) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPT, "--corpus", work / "corpus", "--min-count", 2]
    command += ["--out", work / "out", "--runs", *runs]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("test", "claim"), [(126.0, "10.0 % lower"), (161.0, "15.0 % higher"), (140.0, "0.0 % lower")]
)
def test_everything_is_printed_and_written(work: Path, test: float, claim: str) -> None:
    make_run(work / "more", [8, 6, 5, 5.5], test, replicas=4, seconds=90)
    result = run_table(work, f"baseline={work / 'base'}", f"copies={work / 'more'}")
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[3] == ["baseline", "1", "40", "4,000", "4,000", "4.0", "128.00", "140.00"]
    assert rows[4] == f"copies 4 40 4,000 16,000 6.0 32.00 {test:.2f}".split()
    counted = subprocess.run(
        [sys.executable, KNESER_NEY, work / "corpus", "--min-count", "2"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    valid, test_mark = (line.split()[2] for line in counted[1:])
    assert rows[2] == ["Kneser-Ney", "5-gram", *"-----", valid, test_mark]
    said = f"copies (M = 4) has a test perplexity of {test:.2f} after 40 updates against 140.00 of"
    assert f"{said} baseline, {claim}; " in result.stdout
    # The line from (10, 8) to (20, 6) is at 7 after 15 updates; the baseline is after 30.
    assert "of baseline (7.000) at update 15 instead of 30; training took 1.5" in result.stdout
    with open(work / "out/table.tsv", encoding="utf-8") as file:
        table = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["test_perplexity"] for row in table[1:]] == ["140.0", str(test)]
    assert table[0]["updates"] == ""
    assert (work / "out/learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_runs_of_different_length_are_not_passed_off_as_equal(work: Path) -> None:
    make_run(work / "more", [9, 8], 130.0)
    result = run_table(work, f"base={work / 'base'}", f"more={work / 'more'}")
    assert "after 20 updates against 140.00 of base after 40 updates" in result.stdout
    assert "never reached" in result.stdout


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda work: (work / "base/test.ppl").unlink(), "test.ppl cannot be read"),
        (lambda work: (work / "base/test.ppl").write_text("x"), "test.ppl has no perplexity"),
        (lambda work: (work / "base/train.log").unlink(), "train.log cannot be read"),
        (lambda work: (work / "corpus/valid.txt").unlink(), "valid.txt cannot be read"),
    ],
)
def test_wrong_input_is_one_line(work: Path, spoil, message: str) -> None:
    spoil(work)
    result = run_table(work, f"base={work / 'base'}")
    assert result.returncode == 1 and result.stdout == ""
    assert message in result.stderr and result.stderr.count("\n") == 1
