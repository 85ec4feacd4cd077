"""``fairseq-bas report``: the page, its files, hostile logs, refusals, and a real browser."""

import csv
import html.parser
import importlib.util
import json
import re
import shutil
from types import SimpleNamespace

import pytest

from fairseq_bas import cli
from tests.browser import Browser, find_browser
from tests.helpers import run_cli
from tests.run_logs import dated, inner, start, valid, whole_run

HOSTILE = "</title></style><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&"
VOID = ("meta", "link", "br", "img", "input")


class Strict(html.parser.HTMLParser):
    """Refuse what is not nested, and collect elements, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID and tag not in ("line", "circle", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def elements(self, name):
        return [attributes for tag, attributes in self.seen if tag == name]


def report(*args):
    """Run the command in this process."""
    return cli.main(["report", *map(str, args)])


def refusal(capsys, *args):
    assert report(*args) == 1
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"fairseq-bas report: [^\n]+\n", err), err
    return err


def write_run(folder, *lines):
    folder.mkdir(parents=True)
    (folder / "train.log").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def long_runs(tmp_path_factory):
    """Write three runs of 20,000 updates with a line each 10, the third not finished."""
    folder = tmp_path_factory.mktemp("long")
    for index, name in enumerate(("baseline", "copies", "live")):
        lines = [start(lr=0.1 + index, max_update=20000)]
        for count in range(10, 20001, 10):
            spike = 99 if count == 7770 else 0
            noise = {"loss": 9 - count / 5000 + index + (count % 70) / 50, "gnorm": 1 + spike}
            extra = {"bas_noise_scale": count * 3, "bas_effective_batch": count / 10 + 50}
            lines.append(inner(count // 8, count, **noise, **extra, loss_scale=128, clip=3))
            if count % 500 == 0:
                loss = 8 - count / 8000 + index
                lines.append(valid(count // 8, count, loss, bleu=count / 1000))
        if name != "live":
            lines.append(dated(2600, "fairseq_cli.train", "done training in 2500.0 seconds"))
        write_run(folder / name, *lines)
    return folder


@pytest.fixture(scope="module")
def page(long_runs):
    """Return the page of the three runs."""
    runs = [long_runs / name for name in ("baseline", "copies", "live")]
    metrics = {"BLEU": {"score": 27.3, "signature": "nrefs:1|" * 12, "p_value": None}}
    systems = [{"name": name, "metrics": metrics} for name in ("a", "b")]
    scores = {"test": {"type": "bootstrap", "trials": 1000}, "systems": systems}
    (long_runs / "scores.json").write_text(json.dumps(scores))
    flags = ["--no-png", "--scores", long_runs / "scores.json"]
    assert report(*runs, "--out", long_runs / "out.html", *flags) == 0
    return long_runs / "out.html"


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


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """Train with copies, interrupted and resumed, leaving what the README's commands leave."""
    folder = tmp_path_factory.mktemp("trained")
    flags = [
        *(toy.bin, "--user-dir", "fairseq_bas", "--task", "bas_translation", "--bas-replicas", 2),
        *("--arch", "transformer_iwslt_de_en", "--encoder-layers", 1, "--decoder-layers", 1),
        *("--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 32, "--share-all-embeddings"),
        *("--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 32, "--dropout", 0.1),
        *("--encoder-attention-heads", 2, "--decoder-attention-heads", 2, "--cpu"),
        *("--criterion", "bas_cross_entropy", "--label-smoothing", 0.1, "--optimizer", "adam"),
        *("--lr", 0.003, "--max-tokens", 200, "--required-batch-size-multiple", 1, "--seed", 1),
        *("--num-workers", 0, "--log-interval", 2, "--save-dir", folder / "checkpoints"),
        *("--no-epoch-checkpoints",),
    ]
    output = ""
    for epoch, style in ((1, "simple"), (3, "json")):
        more = ("--max-epoch", epoch, "--log-format", style)
        result = run_cli("fairseq_cli.train", *flags, *more, forked=True)
        output += result.stderr + result.stdout
    (folder / "checkpoints" / "train.log").write_text(output, encoding="utf-8")
    (folder / "data-bin").symlink_to(toy.bin)
    shutil.copy(toy.text / "test.de", folder / "test.de")
    lines = (toy.text / "test.de").read_text().splitlines()
    (folder / "test.gen").write_text("\n".join(line[:-4] for line in lines) + "\n")
    return SimpleNamespace(folder=folder, log=output)


def test_a_real_run_in_both_formats(trained, tmp_path):
    out = tmp_path / "page.html"
    assert report(f"real={trained.folder / 'checkpoints'}", "--out", out, "--no-png") == 0
    text = "\n".join(Strict(out.read_text(encoding="utf-8")).text)
    assert re.search(r"key fingerprint [0-9a-f]{8}", text)
    assert re.search(r"fairseq_bas \S+, fairseq \S+, torch", text)
    assert "checkpoint_last.pt" in text and "SHA-256 agrees" in text
    assert "flags changed" in text and "--max-epoch: 1, then 3" in text
    table = (tmp_path / "page_files" / "runs.tsv").read_text().splitlines()
    rows = [dict(zip(table[0].split("\t"), row.split("\t"), strict=True)) for row in table[1:]]
    assert [row["epoch"] for row in rows if row["part"] == "valid"] == ["1", "2", "3"]
    assert {row["bas_replicas"] for row in rows if row["part"] == "train"} == {"2"}


def test_the_notebook_script_runs(trained, tmp_path, monkeypatch, capsys):
    from tests.helpers import ROOT

    for file in trained.folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    code = compile((ROOT / "docs" / "notebook.py").read_text(), "notebook.py", "exec")
    space = {"__name__": "notebook"}
    exec(code, space)  # a script of this repository, in this process to spare the imports
    out = capsys.readouterr().out
    assert space["run"].log.replicas == 2
    assert "M = 4: BLEU" in out and "noise scale" in out and "sharpness" in out
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    Strict((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_python_callers_get_value_errors(trained):
    from fairseq_bas import notebook

    run = notebook.load_run(trained.folder / "checkpoints", "name", checkpoints=False)
    assert run.name == "name" and run.checkpoints == ()
    with pytest.raises(ValueError, match="no run has nothing over hours; there are loss-updates"):
        notebook.plot([run], "nothing", over="hours")
    with pytest.raises(ValueError, match="unrecognized arguments: --nothing"):
        notebook.sharpness("data-bin", "x.pt", nothing=1)
    with pytest.raises(ValueError, match=r"x\.pt does not exist"):
        notebook.noise_scale("data-bin", "x.pt")
    with pytest.raises(ValueError, match="--copies 1 shows no difference"):
        notebook.replica_variance(
            "data-bin", trained.folder / "checkpoints/checkpoint_last.pt", copies=1
        )


def luminance(colour):
    """Return the relative luminance of ``rgb(r, g, b)``, WCAG 2."""
    parts = [int(part) / 255 for part in re.findall(r"[0-9]+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.skipif(find_browser() is None, reason="there is no Chromium on PATH")
def test_a_browser_shows_every_figure_in_light_and_dark(page, tmp_path):
    figures = page.read_text(encoding="utf-8").count("<svg ")
    with Browser(find_browser(), tmp_path) as browser:
        backgrounds = []
        for scheme, width in (("light", 1400), ("dark", 1400), ("light", 400)):
            browser.open(page, scheme, width)
            assert browser.complaints() == []
            assert [url for url in browser.requests() if not url.startswith("data:")] == [
                page.resolve().as_uri()
            ]
            shown = browser.evaluate(
                "[...document.querySelectorAll('svg.chart')].map(s => {"
                "const box = s.getBoundingClientRect(), path = s.querySelector('.line path');"
                "return [box.width, box.height, path.getTotalLength(),"
                "getComputedStyle(path).stroke]})"
            )
            assert len(shown) == figures
            assert all(w > 250 and h > 150 and length > 50 for w, h, length, _ in shown)
            style = "getComputedStyle(document.querySelector('figure')).backgroundColor"
            background = browser.evaluate(style)
            backgrounds.append(background)
            assert all(contrast(background, stroke) >= 3 for *_, stroke in shown)
            ink = browser.evaluate("getComputedStyle(document.querySelector('.tick')).fill")
            assert contrast(background, ink) >= 4.5
            # Nothing is wider than the window.
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert browser.evaluate(wide) <= 0
        assert contrast(backgrounds[0], backgrounds[1]) > 10
        browser.open(page, "dark")
        spot = browser.evaluate(
            "(() => {const s = document.querySelector('#chart-loss-updates');"
            "s.scrollIntoView(); const b = s.getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]})()"
        )
        browser.move_to(*spot)
        hover = browser.evaluate("document.getElementById('hover').textContent")
        assert re.match(r"updates [0-9]+\n", hover) and "copies, valid: " in hover
        assert browser.complaints() == []


@pytest.mark.skipif(find_browser() is None, reason="there is no Chromium on PATH")
def test_the_policy_of_the_page_stops_a_script(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    forged = tmp_path / "forged.html"
    forged.write_text(text.replace("</main>", "</main><script>document.title='owned'</script>"))
    (tmp_path / "profile").mkdir()
    with Browser(find_browser(), tmp_path / "profile") as browser:
        browser.open(forged, "light")
        assert browser.evaluate("document.title") == "Training runs"
        assert any("Content Security Policy" in line for line in browser.complaints())
