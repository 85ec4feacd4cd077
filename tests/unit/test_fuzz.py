"""A short form of ``scripts/bench/fuzz.py``: damaged input works or is refused in one line."""

import sys
from pathlib import Path

import pytest

from tests.in_process import train_here
from tests.processes import ROOT
from tests.toys import tiny_lstm

pytest.importorskip("fairseq")
BENCH = ROOT / "scripts/bench"
MODULES = ("fuzz", "fuzz_commands", "fuzz_files", "fuzz_material", "fuzz_mutations")


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(BENCH))
    import fuzz as module

    yield module
    sys.path.remove(str(BENCH))
    for name in [*MODULES, "fuzz_outcome", "fuzz_text"]:
        sys.modules.pop(name, None)


@pytest.fixture
def material(fuzz, toy, toy_lm, tmp_path):
    """Correct files; the model has had one update."""
    work = tmp_path / "work"
    work.mkdir()
    lines = (toy.text / "test.de").read_text().splitlines()
    generated, log = tmp_path / "generate.log", tmp_path / "train.log"
    generated.write_text("".join(f"S-{i}\tx\nH-{i}\t-0.5\t{s}\n" for i, s in enumerate(lines)))
    log.write_text(
        '2026 | INFO | train_inner | {"epoch": 1, "wpb": "50", "num_updates": "10", '
        '"train_wall": "30"}\n'
        '2026 | INFO | valid | {"epoch": 1, "valid_loss": "7.9", "valid_num_updates": "10"}\n'
    )
    model = tmp_path / "model"
    train_here([*tiny_lstm(toy, model), "--max-update", 1, "--disable-validation"])
    checkpoint = model / "checkpoint_last.pt"
    reference = toy.text / "test.de"
    return fuzz.Material(toy.bin, toy_lm.bin, checkpoint, generated, reference, log, work)


def test_every_case_works_or_is_refused(fuzz, material):
    """The first cases of every kind, and of every kind some that work and some that do not."""
    few = {"data of translation": 15, "data of a text": 15, "texts to score": 25}
    results = []
    for kind in fuzz.makers(material):
        results += fuzz.outcomes(material, range(few.get(kind, 40)), kind)
    bugs = [outcome for outcome in results if outcome.result == fuzz.BUG]
    assert not bugs, "\n\n".join(f"{o.kind} {o.seed}: {o.detail}" for o in bugs)
    for kind in ("checkpoints", "texts to score", "--bas-replicas", "--bas-source-noise"):
        assert {o.result for o in results if o.kind == kind} == {fuzz.WORKED, fuzz.REFUSED}, kind
    assert len(results) > 500
    table = fuzz.table(results)
    assert table[-1].split()[:2] == ["all", str(len(results))]


def test_what_counts_as_a_bug(fuzz):
    def loop():
        while True:
            pass

    def decode():
        b"\xff".decode()

    def refuse():
        raise ValueError("x is wrong; pass y")

    def fail():
        raise KeyError("x")

    def silent():
        raise ValueError

    cases = (loop, decode, refuse, fail, silent, lambda: None)
    results = [fuzz.attempt("kind", 0, case, 0.2) for case in cases]
    assert [outcome.result for outcome in results] == [
        *(fuzz.BUG, fuzz.BUG, fuzz.REFUSED, fuzz.BUG, fuzz.BUG, fuzz.WORKED)
    ]
    assert "hangs" in results[0].detail and "KeyError" in results[3].detail


def test_reports_are_replaced_whole_or_not_at_all(tmp_path):
    from fairseq_bas.tool.report_files import write_report

    path = tmp_path / "report.json"
    write_report(str(path), ["old"])

    def broken():
        yield "new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        write_report(str(path), broken())
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.json"
    link.symlink_to(path)
    write_report(str(link), ["n", "ew"])
    assert link.is_symlink() and Path(path).read_text() == "new"
