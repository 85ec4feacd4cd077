"""Pages of ``fairseq-bas report`` for tests: runs to show, the command, and a strict parser."""

import html.parser
import json
import re

from fairseq_bas import cli
from tests.run_logs import dated, inner, start, valid

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


def page_of_long_runs(folder):
    """Write the page of three runs of 20,000 updates, a line each 10, the third not finished."""
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
    runs = [folder / name for name in ("baseline", "copies", "live")]
    metrics = {"BLEU": {"score": 27.3, "signature": "nrefs:1|" * 12, "p_value": None}}
    systems = [{"name": name, "metrics": metrics} for name in ("a", "b")]
    scores = {"test": {"type": "bootstrap", "trials": 1000}, "systems": systems}
    (folder / "scores.json").write_text(json.dumps(scores))
    flags = ["--no-png", "--scores", folder / "scores.json"]
    assert report(*runs, "--out", folder / "out.html", *flags) == 0
    return folder / "out.html"
