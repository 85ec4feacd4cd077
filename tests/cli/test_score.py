"""``fairseq-bas score`` as a real process: output, files, exit codes, cheap start."""

import csv
import json
import re
import subprocess
import sys

import pytest

from tests.processes import ROOT, USER_DIR, run_cli
from tests.toys import tiny_transformer

REFERENCE = [f"Sentence number {i} is about the {i % 7} days of week {i % 5}." for i in range(30)]
FAR = [" ".join(line.split()[: 3 + i % 4]) + " x y z" for i, line in enumerate(REFERENCE)]
NEAR = [line.replace("about", "on") if i % 3 else line for i, line in enumerate(REFERENCE)]


@pytest.fixture
def texts(tmp_path):
    """Write a reference and two systems; return their folder."""
    for name, lines in {"ref": REFERENCE, "far": FAR, "near": NEAR}.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def _score(folder, *args, **kwargs):
    return run_cli("fairseq_bas", "score", *args, cwd=folder, **kwargs)


def _refusal(folder, *args):
    """Return the only line that a refused command writes."""
    result = _score(folder, *args, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"fairseq-bas score: [^\n]+\n", result.stderr), result.stderr
    return result.stderr


def test_table_json_and_tsv_agree(texts):
    args = ["--ref", "ref", "far", "near", "--name", "base", "néar", "--trials", 100]
    result = _score(texts, *args, "--json", "out.json", "--tsv", "out.tsv")
    assert result.stderr == ""
    document = json.loads((texts / "out.json").read_text(encoding="utf-8"))
    with open(texts / "out.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["System", "BLEU", "+-", "p", "chrF2", "+-", "p", "TER", "+-", "p"]
    table = [line.split() for line in lines[1:3]]
    assert [cells[0] for cells in table] == ["base", "néar"]
    for system, cells in zip(document["systems"], table, strict=True):
        for index, (name, metric) in enumerate(system["metrics"].items()):
            score, ci, p_value = cells[1 + 3 * index : 4 + 3 * index]
            assert score == f"{metric['score']:.2f}"
            assert ci == f"{metric['ci']:.2f}"
            row = rows.pop(0)
            assert (row["system"], row["metric"]) == (system["name"], name)
            assert float(row["score"]) == metric["score"]
            assert float(row["ci"]) == metric["ci"]
            if system["name"] == "base":
                assert (p_value, row["p_value"], metric["p_value"]) == ("-", "", None)
            else:
                assert float(row["p_value"]) == metric["p_value"] < 0.05
                assert p_value == f"{metric['p_value']:.4f}*"
                assert row["significant"] == "yes"
            assert row["signature"] == metric["signature"]
            assert f"{name:<5}   {metric['signature']}" in lines
    assert rows == []
    assert [system["path"] for system in document["systems"]] == ["far", "near"]
    assert document["references"] == ["ref"]
    assert document["test"] == {
        **{"type": "bootstrap", "trials": 100, "seed": 12345, "baseline": "base", "level": 0.05}
    }
    first = (texts / "out.json").read_bytes()
    assert _score(texts, *args, "--json", "out.json").stdout == result.stdout
    assert (texts / "out.json").read_bytes() == first


def test_scores_a_real_log_as_fairseq_itself_does(toy, tmp_path):
    """The ``--scoring sacrebleu`` of fairseq scores while it generates, not from the log."""
    train = tiny_transformer(toy, tmp_path / "checkpoints")
    run_cli("fairseq_cli.train", *train, "--max-epoch", 3)
    log = run_cli(
        "fairseq_cli.generate",
        *(toy.bin, "--path", tmp_path / "checkpoints/checkpoint_last.pt", "--cpu"),
        *("--user-dir", USER_DIR, "--gen-subset", "test", "--required-batch-size-multiple", 1),
        *("--beam", 2, "--nbest", 2, "--scoring", "sacrebleu"),
    ).stdout
    (tmp_path / "log").write_text(log, encoding="utf-8")
    printed = re.search(r"^Generate test with beam=2: BLEU = ([0-9.]+) ", log, re.MULTILINE)[1]
    reference = toy.text / "test.de"
    _score(tmp_path, "--ref", reference, "log", "--test", "none", "--json", "out.json")
    [system] = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["systems"]
    assert (system["source"], system["sentences"]) == ("D-", 12)
    assert f"{system['metrics']['BLEU']['score']:.2f}" == printed
    assert float(printed) > 0


def test_several_references_and_a_pipe(texts):
    one = _score(texts, "--ref", "ref", "near", "--metrics", "bleu", "--test", "none").stdout
    two = _score(
        texts,
        *("--ref", "ref", "--ref", "near", "/dev/stdin", "--metrics", "bleu", "--test", "none"),
        stdin=(texts / "near").read_text(encoding="utf-8"),
    ).stdout
    assert "nrefs:1|" in one
    assert "nrefs:2|" in two
    assert two.splitlines()[1].split() == ["/dev/stdin", "100.00"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--ref", "ref", "absent"], "absent cannot be read"),
        (["--ref", "ref", "near", "near"], "system near is given twice; .* --name"),
        (["--ref", "ref", "--ref", "ref", "near"], "reference ref is given twice"),
        (["--ref", "ref", "near", "far", "--name", "a"], "1 names for 2 systems"),
        (["--ref", "ref", "near", "--name", "a\tb"], "not a printable name"),
        (["--ref", "ref", "near", "--json", "ref"], "ref is given twice, as a report"),
        (["--ref", "ref", "near", "--json", "x", "--tsv", "./x"], "./x is given twice"),
        (["--ref", "ref", "near", "--tsv", "no/x"], "no/x cannot be written"),
        (["--ref", "ref", "near", "--metrics", "blue"], "--metrics 'blue'"),
        (["--ref", "ref", "near", "--tokenize", "14b"], "--tokenize 14b"),
        (["--ref", "ref", "bpe"], "30 of 30 lines of system bpe carry subword marks"),
    ],
)
def test_refusals_are_one_line_and_exit_code_1(texts, args, message):
    (texts / "bpe").write_text("zer@@ schnitten\n" * 30, encoding="utf-8")
    assert re.search(message, _refusal(texts, *args))
    assert (texts / "ref").read_text(encoding="utf-8") == "\n".join(REFERENCE) + "\n"


def test_warnings_are_one_line_each(texts):
    (texts / "tok").write_text("A sentence .\n" * 29 + "\n", encoding="utf-8")
    result = _score(texts, "--ref", "ref", "tok", "--trials", 10)
    empty, periods = result.stderr.splitlines()
    assert empty.startswith("fairseq-bas score: WARNING: 1 of 30 lines of system tok are empty")
    assert periods.startswith("fairseq-bas score: WARNING: 29 of 30 lines of system tok end in")
    assert "detokenize" in periods


@pytest.mark.parametrize("args", [[], ["scores"], ["score"], ["score", "--ref", "r"], ["--seed"]])
def test_wrong_usage_is_exit_code_2(args):
    result = run_cli("fairseq_bas", *args, check=False)
    assert result.returncode == 2
    assert "usage: fairseq-bas" in result.stderr


def test_help_and_version_import_nothing_heavy():
    for args in (["--help"], ["score", "--help"], ["--version"]):
        result = run_cli("fairseq_bas", *args, env={"PYTHONPROFILEIMPORTTIME": "1"})
        imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
        assert "fairseq_bas.cli" in imported
        heavy = {"torch", "fairseq", "numpy", "scipy", "sklearn", "matplotlib", "sacrebleu"}
        assert not imported & heavy
    assert re.fullmatch(r"fairseq-bas \d+\.\d+\.\S+\n", result.stdout)


def test_a_reader_that_goes_away_causes_no_traceback(texts):
    command = [sys.executable, "-m", "fairseq_bas", "score", "--ref", texts / "ref", texts / "near"]
    process = subprocess.Popen(
        [*command, "--test", "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141
