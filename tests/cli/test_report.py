"""``fairseq-bas report``: the page, its files, hostile logs and refusals."""

import csv
import importlib.util
import json
import re

import pytest

from fairseq_bas import cli
from tests.processes import run_cli
from tests.report_page import Strict, page_of_long_runs, refusal, report, write_run
from tests.run_logs import dated, inner, start, valid, whole_run

HOSTILE = "</title></style><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of_long_runs(tmp_path_factory.mktemp("long"))


def test_the_page_of_three_long_runs(page):
    assert page.stat().st_size < 3e6
    parsed = Strict(page.read_text(encoding="utf-8"))
    text = "\n".join(parsed.text)
    figures = parsed.elements("svg")
    names = [figure["id"].removeprefix("chart-") for figure in figures]
    for quantity in ("loss", "nll-loss", "ppl", "bleu"):
        for over in ("updates", "tokens", "hours"):
            assert f"{quantity}-{over}" in names
    assert {"batch", "replicas", "lr", "noise-scale", "effective-batch", "loss-scale"} <= {*names}
    assert {"gnorm", "wps", "ups"} <= {*names}
    assert "not finished" in text and "expected end" not in text  # its updates are done
    gnorm = names.index("gnorm")
    lines = [attributes for attributes in parsed.elements("g") if "data-points" in attributes]
    assert any("7770,100" in line["data-points"] for line in lines), gnorm
    assert "--lr" in text and "99.1" not in text
    # Nothing is loaded from elsewhere.
    for _, attributes in parsed.seen:
        assert not any("//" in (attributes.get(key) or "") for key in ("src", "href", "style"))
    assert parsed.elements("script") == [{}]


def test_every_figure_is_a_png_too(tmp_path):
    numbers = '{"epoch": 1, "loss": "7", "lr": "0.1", "num_updates": "%d", "train_wall": "3"}'
    run = write_run(tmp_path / "run", *(dated(n, "train_inner", numbers % n) for n in (10, 20)))
    out = tmp_path / "page.html"
    assert report(run, "--out", out) == 0
    figures = Strict(out.read_text(encoding="utf-8")).elements("svg")
    names = {f"{figure['id'].removeprefix('chart-')}.png" for figure in figures}
    files = {file.name: file for file in (tmp_path / "page_files").iterdir()}
    assert {*files} == {*names, "runs.tsv"} and len(names) == 3  # tokens unknown
    assert all(files[name].read_bytes().startswith(b"\x89PNG") for name in names)


def test_the_table_has_every_line(page):
    with open(page.parent / "out_files" / "runs.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    train = [row for row in rows if row["run"] == "copies" and row["part"] == "train"]
    assert len(train) == 2000
    assert (train[776]["updates"], train[776]["gnorm"]) == ("7770", "100")
    assert float(train[-1]["tokens"]) == 20000 * 50
    valid_rows = [row for row in rows if row["run"] == "live" and row["part"] == "valid"]
    assert (valid_rows[-1]["bleu"], valid_rows[-1]["gnorm"]) == ("20", "")


def test_a_hostile_log_stays_text(tmp_path):
    hostile = HOSTILE.replace("'", "")
    run = write_run(
        tmp_path / "run",
        *(start(), inner(10, 10), valid(20, 20, 7)),
        dated(21, "evil", HOSTILE, "WARNING"),
        dated(22, "fairseq_bas.task.run_summary", "batch augmentation"),
        f"  noise          {HOSTILE}\n",
        start(30).replace("bas_translation", hostile),
        dated(31, "evil", "\x00\x1b[31m\u202e", "ERROR"),
        "Traceback (most recent call last):\n" + HOSTILE + "\n",
    )
    out = tmp_path / "page.html"
    title = f"--title={HOSTILE}"
    assert report(f"<img onerror>&'\"={run}", title, "--out", out, "--no-png") == 0
    text = out.read_text(encoding="utf-8")
    parsed = Strict(text)
    assert parsed.elements("img") == [] and parsed.elements("script") == [{}]
    assert not any(name.startswith("on") for _, given in parsed.seen for name in given)
    assert "\x00" not in text and "\x1b" not in text and "\u202e" not in text
    shown = "".join(parsed.text)
    assert shown.count(HOSTILE) >= 4  # title, warning, summary, error: told as they are
    assert hostile in shown


def test_a_run_that_is_not_finished(tmp_path):
    run = write_run(
        tmp_path / "run", start(), *(inner(n, n) for n in (10, 20, 30, 40)), inner(50, 50)[:60]
    )
    out = tmp_path / "page.html"
    assert report(run, "--out", out, "--no-png") == 0
    text = "".join(Strict(out.read_text(encoding="utf-8")).text)
    assert "1 run, 1 not finished" in text and "40 of 100" in text
    assert "run is not finished; last line 2026-01-01 10:00, expected end 2026-01-01 10:01." in text
    with open(run / "train.log", "a", encoding="utf-8") as log:
        log.write("\n" + whole_run())
    assert report(run, "--out", out, "--no-png") == 0
    assert "not finished" not in out.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".part"] == []


def test_scores_from_a_file_and_from_translations(tmp_path):
    reference = [f"sentence {i} of the {i % 7} days in week {i % 5} is here" for i in range(30)]
    worse = [line.replace("days", "weeks") if i % 2 else line for i, line in enumerate(reference)]
    (tmp_path / "ref").write_text("\n".join(reference) + "\n")
    runs = [write_run(tmp_path / name, whole_run()) for name in ("a", "b")]
    for run, lines in zip(runs, (worse, reference), strict=True):
        (run / "test.gen").write_text("\n".join(lines) + "\n")
    files = [run / "test.gen" for run in runs]
    names = ["--name", "first", "second", "--json", tmp_path / "scores.json"]
    command = ["score", *files, "--ref", tmp_path / "ref", *names]
    assert cli.main([str(word) for word in command]) == 0
    out = tmp_path / "page.html"
    flags = ["--scores", tmp_path / "scores.json", "--ref", tmp_path / "ref", "--no-png"]
    assert report(*runs, *flags, "--out", out) == 0
    text = "\n".join(Strict(out.read_text(encoding="utf-8")).text)
    document = json.loads((tmp_path / "scores.json").read_text())
    bleu = [system["metrics"]["BLEU"] for system in document["systems"]]
    assert text.count(f"{bleu[0]['score']:.2f}\n") == 2  # of both sources, the same
    assert text.count("100.00") >= 4  # BLEU and chrF2 of the second, twice
    assert text.count(f"{bleu[1]['p_value']:.4f}*") >= 2
    assert text.count(bleu[0]["signature"]) == 2
    assert "second" in text and "paired bootstrap" in text


def test_bold_is_what_differs_and_is_better(tmp_path):
    values = {"a": (20, 70, None), "b": (21, 69, 0.01), "c": (19, 71, 0.01), "d": (22, 68, 0.2)}
    systems = [
        {
            "name": name,
            "metrics": {
                metric: {"score": score, "signature": "nrefs:1", "p_value": p_value}
                for metric, score in (("BLEU", bleu), ("TER", ter))
            },
        }
        for name, (bleu, ter, p_value) in values.items()
    ]
    scores = {"test": {"type": "bootstrap", "trials": 1000}, "systems": systems}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    run, out = write_run(tmp_path / "run", whole_run()), tmp_path / "out.html"
    assert report(run, "--out", out, "--no-png", "--scores", tmp_path / "scores.json") == 0
    cells = re.findall(r"<td[^>]*>(<b>)?(\d\d\.00)(?:</b>)?</td>", out.read_text(encoding="utf-8"))
    bold = {score for is_bold, score in cells if is_bold}
    assert {score for _, score in cells} == {f"{n}.00" for n in (*range(19, 23), *range(68, 72))}
    assert bold == {"21.00", "69.00"}


def test_refusals_are_one_line(tmp_path, capsys, monkeypatch):
    run = write_run(tmp_path / "run", whole_run())
    other = write_run(tmp_path / "x" / "run", whole_run())
    out = tmp_path / "page.html"
    (tmp_path / "scores.json").write_text('{"systems": []}')
    empty = tmp_path / "empty"
    empty.mkdir()
    for args, message in [
        ((tmp_path / "none", "--out", out), "does not exist"),
        ((empty, "--out", out), "no log of training"),
        ((run, "--out", tmp_path / "page.txt"), "ends in .html"),
        ((run, "--out", tmp_path / "none" / "page.html"), "folder is missing"),
        ((run, other, "--out", out), "two runs are called run"),
        ((f" ={run}", "--out", out), "no printable name"),
        ((run, "--out", out, "--scores", tmp_path / "scores.json"), "score --json"),
        ((run, "--out", out, "--ref", tmp_path / "ref"), "no run has translations"),
    ]:
        assert message in refusal(capsys, *args)
        assert not out.exists()
    log = run / "train.log"
    before = log.read_bytes()
    assert "given twice" in refusal(capsys, log, "--out", log)
    assert log.read_bytes() == before
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "matplotlib" else find_spec(name)
    )
    assert "pip install matplotlib" in refusal(capsys, run, "--out", out)
    assert report(run, "--out", out, "--no-png") == 0


def test_needs_neither_fairseq_nor_matplotlib_for_the_page(tmp_path):
    run = write_run(tmp_path / "run", whole_run(style="simple"))
    program = (
        "import sys; from fairseq_bas import cli; code = cli.main(sys.argv[1:]); "
        "names = {'fairseq', 'matplotlib', 'torch', 'sacrebleu', 'scipy'} & {*sys.modules}; "
        "sys.exit(code or (str(names) if names else 0))"
    )
    (tmp_path / "program.py").write_text(program)
    args = ("report", run, "--out", tmp_path / "page.html", "--no-png")
    result = run_cli("program", *args, cwd=tmp_path)
    assert result.stdout.endswith("page.html: 1 run, 20 figures\n"), result.stdout
