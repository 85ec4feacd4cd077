"""The table, the sentence and the figure that end the quickstart, on run folders made by hand."""

import csv
import importlib.util
import json
import struct
import subprocess
import sys
import zlib

import pytest
from sacrebleu.metrics import BLEU

from tests.processes import ROOT

SCRIPT = ROOT / "scripts/quickstart_table.py"
NOUNS = ["cat", "dog", "tree", "house", "river", "stone", "cloud", "field"]
REFERENCE = [f"The {a} stands near the old {b} today." for a in NOUNS for b in NOUNS]
# All right, half right, and one sentence less than half.
SPOILT = [line.replace("stands near", "is by") for line in REFERENCE]
GOOD, HALF = REFERENCE, SPOILT[:32] + REFERENCE[32:]
SAME = [*HALF[:-1], SPOILT[-1]]


def load_script():
    """Import the script, which is in no package, by its path."""
    spec = importlib.util.spec_from_file_location("quickstart_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def make_run(folder, losses, sentences, *, replicas=1, seconds=60, wpb=100):
    """Write a run of 10 updates a validation and 100 distinct target tokens an update."""
    folder.mkdir(parents=True)
    lines = []
    for index, loss in enumerate(losses, start=1):
        common = {"epoch": 1, "num_updates": str(10 * index)}
        numbers = {"wpb": str(wpb), "bas_wpb": str(wpb * replicas), "bas_replicas": str(replicas)}
        lines.append(("train_inner", {**common, **numbers, "train_wall": str(seconds)}))
        numbers = {"valid_loss": str(loss), "valid_num_updates": str(10 * index)}
        lines.append(("valid", {"epoch": 1, **numbers}))
    log = "".join(f"2026 | INFO | {tag} | {json.dumps(values)}\n" for tag, values in lines)
    (folder / "train.log").write_text(log, encoding="utf-8")
    generated = "".join(f"D-{i}\t-0.5\t{text}\n" for i, text in enumerate(sentences))
    (folder / "test.gen").write_text(generated, encoding="utf-8")


@pytest.fixture
def reference(tmp_path):
    path = tmp_path / "test.tgt"
    path.write_text("\n".join(REFERENCE) + "\n", encoding="utf-8")
    return path


def run_table(*args):
    command = [sys.executable, str(SCRIPT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def table_of(tmp_path, reference, copies):
    """Return what the script prints for a baseline and a run with the given sentences."""
    make_run(tmp_path / "base", [9, 8, 7, 7.5], HALF)
    make_run(tmp_path / "more", [8, 6, 5, 5.5], copies, replicas=4, seconds=90)
    runs = [f"baseline={tmp_path / 'base'}", f"copies={tmp_path / 'more'}"]
    result = run_table("--runs", *runs, "--ref", reference, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_everything_is_printed_and_written(tmp_path, reference):
    printed = table_of(tmp_path, reference, GOOD)
    bleu = BLEU().corpus_score(HALF, [REFERENCE]).score
    rows = [line.split() for line in printed.splitlines()[2:4]]
    # 40 updates of 100 tokens; 4 times 60 s; last and best loss.
    start = f"baseline 1 40 4,000 4,000 4.0 7.500 7.000 {bleu:.2f}"
    assert " ".join(rows[0]).startswith(start)
    assert " ".join(rows[1]).startswith("copies 4 40 4,000 16,000 6.0 5.500 5.000 100.00")
    assert rows[0][-1] == "-" and float(rows[1][-1]) < 0.05
    assert "\nBLEU: nrefs:1|bs:1000|seed:12345|case:mixed" in printed
    # The line from (10, 8) to (20, 6) is at 7 after 15 updates; the baseline is after 30.
    assert "copies (M = 4) helped: 100.00 BLEU after 40 updates against" in printed
    assert "of baseline (7.000) at update 15 instead of 30" in printed
    assert "1.5 times as long" in printed
    with open(tmp_path / "out/table.tsv", encoding="utf-8") as file:
        table = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["system"] for row in table] == ["baseline", "copies"]
    assert float(table[1]["target_tokens_with_copies"]) == 16000
    assert float(table[0]["bleu"]) == pytest.approx(bleu)
    assert table[0]["p_value"] == ""
    scores = json.loads((tmp_path / "out/scores.json").read_text(encoding="utf-8"))
    assert scores["systems"][1]["metrics"]["BLEU"]["score"] == pytest.approx(100)
    assert scores["systems"][1]["training"]["minutes"] == 6


@pytest.mark.parametrize(
    ("copies", "claim"),
    [
        (SAME, "copies (M = 4) did not help: "),
        (HALF, "copies (M = 4) did not help: "),
        (SPOILT, "copies (M = 4) did not help but hurt: "),
    ],
)
def test_copies_that_do_not_help_are_said_not_to(tmp_path, reference, copies, claim):
    assert claim in table_of(tmp_path, reference, copies)


def test_a_run_that_never_reaches_the_loss_is_said_not_to(tmp_path, reference):
    make_run(tmp_path / "base", [9, 8, 7], HALF)
    make_run(tmp_path / "more", [9, 8.5, 7.25], GOOD, replicas=2)
    module = load_script()
    base, more = module.read_runs([f"base={tmp_path / 'base'}", f"more={tmp_path / 'more'}"])
    scores = module.score_systems({"base": HALF, "more": GOOD}, {"ref": REFERENCE}, module.SETTINGS)
    sentence = module.verdict(base, scores[0], more, scores[1])
    assert "never reached the best validation loss of base (7.000), its own is 7.250" in sentence


def test_runs_of_different_length_are_not_passed_off_as_equal(tmp_path):
    make_run(tmp_path / "base", [9, 8, 7], HALF)
    make_run(tmp_path / "more", [9, 8], GOOD)
    module = load_script()
    base, more = module.read_runs([f"base={tmp_path / 'base'}", f"more={tmp_path / 'more'}"])
    scores = module.score_systems({"base": HALF, "more": GOOD}, {"ref": REFERENCE}, module.SETTINGS)
    sentence = module.verdict(base, scores[0], more, scores[1])
    assert "BLEU after 20 updates against" in sentence
    assert "of base after 30 updates" in sentence


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["{base}"], "is not NAME=DIR"),
        (["a={base}", "a={base}"], "names a twice"),
        (["a={base}/none"], "has 0 files *.gen"),
        (["a={base}", "b={empty}"], "train.log cannot be read"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, reference, runs, message):
    make_run(tmp_path / "base", [9], HALF)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/test.gen").touch()
    places = {"base": tmp_path / "base", "empty": tmp_path / "empty"}
    runs = [run.format(**places) for run in runs]
    result = run_table("--runs", *runs, "--ref", reference, "--out", tmp_path / "out")
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def _pixels(path):
    """Return the rows of a PNG, still filtered; its header and check sums are verified."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds, packed = 8, [], b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length :][:4])[0]
        kinds.append(kind)
        packed += body if kind == b"IDAT" else b""
        at += length + 12
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    return zlib.decompress(packed)


def test_the_figure_shows_the_runs(tmp_path, reference):
    pytest.importorskip("matplotlib")
    assert "learning_curves.png" in table_of(tmp_path, reference, GOOD)
    one, other = tmp_path / "out/learning_curves.png", tmp_path / "flat/learning_curves.png"
    make_run(tmp_path / "flat_run", [9, 9, 9, 9], GOOD, replicas=4, seconds=90)
    runs = [f"baseline={tmp_path / 'base'}", f"copies={tmp_path / 'flat_run'}"]
    result = run_table("--runs", *runs, "--ref", reference, "--out", other.parent)
    assert result.returncode == 0, result.stderr
    assert len(set(_pixels(one))) > 50
    assert _pixels(one) != _pixels(other)


def test_without_matplotlib_all_else_is_there(tmp_path, reference):
    make_run(tmp_path / "base", [9, 8], HALF)
    # An interpreter in which the import of matplotlib fails, as where it is not installed.
    code = "import runpy, sys; sys.modules['matplotlib'] = None; sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, SCRIPT, "--runs", f"base={tmp_path / 'base'}"]
    command += ["--ref", reference, "--out", tmp_path / "out"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "pip install matplotlib" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "scores.json",
        "table.tsv",
    ]
