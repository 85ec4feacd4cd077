"""The tables of the replica benchmark on run folders made by hand, complete and not."""

import importlib.util
import json
import subprocess
import sys

import pytest
from sacrebleu.metrics import BLEU

from tests.processes import ROOT

SCRIPT = ROOT / "scripts/bench/replica_table.py"
NOUNS = ["cat", "dog", "tree", "house", "river", "stone", "cloud", "field"]
REFERENCE = [f"The {a} stands near the old {b} today." for a in NOUNS for b in NOUNS]


def spoilt(count):
    """Return the reference with another verb in its first ``count`` sentences."""
    bad = [line.replace("stands near", "is by") for line in REFERENCE[:count]]
    return bad + REFERENCE[count:]


def bleu(count):
    return BLEU().corpus_score(spoilt(count), [REFERENCE]).score


def make_run(folder, losses, translations, *, wpb=100, replicas=1):
    """Write a run: a validation every 2 updates, 30 s a validation, logs of the given updates."""
    folder.mkdir(parents=True)
    lines = []
    for update, loss in zip(range(2, 1000, 2), losses, strict=False):
        values = {"epoch": 1, "num_updates": str(update), "train_wall": "30", "wpb": str(wpb)}
        values |= {"bas_wpb": str(wpb * replicas), "bas_replicas": str(replicas)}
        lines.append(f"2026 | INFO | train_inner | {json.dumps(values)}")
        values = {"epoch": 1, "valid_loss": str(loss), "valid_num_updates": str(update)}
        lines.append(f"2026 | INFO | valid | {json.dumps(values)}")
    (folder / "train.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for update, sentences in translations.items():
        text = "".join(f"D-{index}\t-1\t{line}\n" for index, line in enumerate(sentences))
        (folder / f"checkpoint_1_{update}.gen").write_text(text, encoding="utf-8")


def falling(start, step, count=10):
    return [start - step * index for index in range(count)]


@pytest.fixture
def bench(tmp_path):
    """U = 20 with validations at 2, 4, ... 20; M = 2 and 4; seed 1 whole, seed 2 in part."""
    runs = tmp_path / "runs"
    base = [*falling(9.0, 0.25), *falling(6.5, 0.125, 30)]
    make_run(runs / "baseline-seed1", base, {20: spoilt(32), 40: spoilt(20), 80: spoilt(8)})
    make_run(runs / "copies-x2-seed1", falling(9.0, 0.5), {20: spoilt(30)}, replicas=2)
    slow = falling(9.0, 0.125)
    make_run(runs / "copies-x4-seed1", slow, {20: spoilt(0)}, replicas=4)
    make_run(runs / "batch-x2-seed1", falling(9.0, 0.5), {20: spoilt(10)}, wpb=200)
    make_run(runs / "baseline-seed2", falling(9.5, 0.25), {20: spoilt(40)})
    make_run(runs / "copies-x2-seed2", falling(9.0, 0.5, 6), {})  # stands at update 12
    (tmp_path / "test.tgt").write_text("\n".join(REFERENCE) + "\n", encoding="utf-8")
    return tmp_path


def run_script(bench, *args):
    flags = ["--runs", bench / "runs", "--ref", bench / "test.tgt"]
    flags += ["--updates", 20, "--replicas", "2 4", "--seeds", "1 2", *args]
    command = [sys.executable, str(SCRIPT), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def tables(text):
    """Return the Markdown tables, each as first cell -> other cells."""
    found = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [{row[0]: row[1:] for row in table} for table in found if table]


def test_results(bench):
    result = run_script(bench)
    assert result.returncode == 0, result.stderr
    rows = tables(result.stdout)[0]
    two = [bleu(32), bleu(40)]
    mean = f"{sum(two) / 2:.2f} ({two[1]:.2f} to {two[0]:.2f})"
    # Losses at update 20 are 6.75 and 7.25; 20 updates of 100 tokens, 10 times 30 s.
    start = ["20", "1 2", mean, "7.000 (6.750 to 7.250)", "7.000 (6.750 to 7.250)"]
    assert rows["baseline, M = 1"] == [*start, "2", "2", "5.0", "- -"]
    copies = rows["M = 2 copies"]
    assert copies[:8] == ["20", "1", f"{bleu(30):.2f}", "4.500", "4.500", "2", "4", "5.0"]
    assert float(copies[8]) > 0.05  # two sentences more
    assert float(rows["M = 4 copies"][8]) < 0.05
    assert rows["2 times the batch"][5:8] == ["4", "4", "5.0"]
    # 40 updates of the baseline: losses go on from 6.5 in steps of 1/8.
    longer = [f"{bleu(20):.2f}", "5.375", "5.375", "4", "4", "10.0"]
    assert rows["2 times the updates"][:8] == ["40", "1", *longer]
    assert rows["4 times the batch"][:3] == ["20", "", "not run"]
    assert "BLEU: `nrefs:1|bs:1000|" in result.stdout


def test_losses_of_each_tenth(bench):
    rows = tables(run_script(bench).stdout)[1]
    assert rows["valid loss after updates"][1:] == [str(update) for update in range(2, 21, 2)]
    base = [f"{9.25 - 0.25 * index:.3f}" for index in range(10)]
    assert rows["baseline, M = 1"] == ["1 2", *base]
    assert rows["M = 2 copies"] == ["1", *(f"{9 - 0.5 * index:.3f}" for index in range(10))]


def test_updates_to_reach_the_baseline(bench):
    rows = tables(run_script(bench).stdout)[2]
    # The lowest losses are 6.75 and 7.25, at update 20. Of M = 2, losses fall by 0.5 from 9.0 at
    # update 2: 7.0 at update 10, 6.5 at update 12, so 6.75 at update 11.
    assert rows["baseline, M = 1"] == ["20 (1.00)", "20 (1.00)"]
    assert rows["M = 2 copies"] == ["11 (1.82)", "not finished (12 of 20 updates)"]
    assert rows["M = 4 copies"] == ["not reached (best 7.875)", "not run"]


def test_what_is_missing_is_said_to_be(bench):
    (bench / "runs/copies-x4-seed1/checkpoint_1_20.gen").unlink()
    (bench / "runs/copies-x2-seed1/train.log").unlink()
    (bench / "runs/baseline-seed1/checkpoint_1_20.gen").unlink()
    (bench / "runs/batch-x4-seed2").mkdir()
    (bench / "runs/batch-x4-seed2/train.log").write_text("has just begun\n")
    result = run_script(bench)
    assert result.returncode == 0, result.stderr
    rows = tables(result.stdout)[0]
    assert rows["M = 4 copies"] == ["20", "", "not translated", *[""] * 6]
    assert rows["M = 2 copies"] == ["20", "", "not finished (12 of 20 updates)", *[""] * 6]
    assert rows["baseline, M = 1"][:3] == ["20", "2", f"{bleu(40):.2f}"]
    # There is no baseline of seed 1 to test against.
    assert rows["2 times the updates"][-1] == "-"
    assert "batch-x4-seed2" in result.stderr


def test_a_lost_validation_is_not_filled_in(bench):
    log = bench / "runs/baseline-seed2/train.log"
    kept = [line for line in log.read_text().splitlines() if '"valid_num_updates": "6"' not in line]
    log.write_text("\n".join(kept) + "\n")
    assert tables(run_script(bench).stdout)[1]["baseline, M = 1"][2:5] == ["9.000", "-", "8.500"]


def test_wrong_input_is_one_line(bench, tmp_path):
    for flags in (["--runs", tmp_path / "none"], ["--updates", 5], ["--ref", tmp_path / "none"]):
        result = run_script(bench, *flags)
        assert result.returncode == 1
        assert result.stderr.count("\n") == 1


def test_spread():
    spec = importlib.util.spec_from_file_location("replica_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    assert module.spread([1.0, 2.0], ".1f") == "1.5 (1.0 to 2.0)"
    assert module.spread([1.0, 1.01], ".1f") == "1.0"
