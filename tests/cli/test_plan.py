"""``fairseq-bas plan`` as users run it: what it prints and writes, and what it refuses."""

import json
import os
import struct
import sys

import pytest

from fairseq_bas import cli
from tests.processes import run_cli
from tests.toys import tiny_transformer

# 60 sentences in micro-batches of 4: an epoch is 15 of them.
SENTENCES = ("--batch-size", 4, "--max-tokens", 1000)


def flags_of(toy, save_dir, *extra):
    return [*tiny_transformer(toy, save_dir, task="bas_translation"), *SENTENCES, *extra]


def test_reports_of_a_schedule_by_hand(toy, tmp_path):
    """1x until update 3, 2x until epoch 2, 5x then, with 2 copies from 44 sentences on."""
    document, figure = tmp_path / "plan.json", tmp_path / "plan.png"
    run = run_cli(
        "fairseq_bas",
        *("plan", "--json", document),
        *flags_of(
            toy,
            tmp_path,
            *("--bas-batch-schedule", "1x@0,2x@3u,5x@1e", "--bas-replicas", "1@0,2@44s"),
            *("--lr-scheduler", "bas_scaled", "--bas-lr-scaling", "linear", "--max-epoch", 2),
        ),
        *("--figure", figure),
    )
    table = [line.split() for line in run.stdout.splitlines()]
    by_hand = {
        ("1", "-", "3", "1", "1x", "4.0"): ("1", "0.003"),
        ("4", "-", "7", "1", "2x", "8.0"): ("2", "0.006"),
        ("8", "-", "9", "1", "2x", "8.0"): ("2", "0.006"),
        ("10", "-", "12", "2", "5x", "20.0"): ("5", "0.015"),
    }
    for start, end in by_hand.items():
        assert any(tuple(row[:6]) == start and tuple(row[-2:]) == end for row in table), start
    assert "12 updates in 2 epochs; 120 sentences" in run.stdout
    assert "the largest batch of 20 sentences is 33% of an epoch" in " ".join(run.stdout.split())
    assert "activations" in run.stdout and run.stderr == ""

    plan = json.loads(document.read_text(encoding="utf-8"))
    (course,) = plan["courses"]
    columns = ("epoch", "update", "sentences", "replicas", "kappa", "lr")
    rows = [tuple(row[name] for name in columns) for row in course["rows"]]
    expected = [
        *[(1, update, 4, 1, 1, 0.003) for update in (1, 2, 3)],
        *[(1, update, 8, 1, 2, 0.006) for update in (4, 5, 6, 7)],
        *[(1, update, 8, 2, 2, 0.006) for update in (8, 9)],
        *[(2, update, 20, 2, 5, 0.015) for update in (10, 11, 12)],
    ]
    assert [row[:5] for row in rows] == [row[:5] for row in expected]
    assert [row[5] for row in rows] == pytest.approx([row[5] for row in expected])
    assert [stage["updates"] for stage in course["stages"]] == [3, 4, 2, 3]
    sizes = plan["memory"]["bytes"]
    assert sizes.pop("total") == sum(sizes.values()) > 0
    assert plan["flags"][0] == str(toy.bin) and plan["rules"]["batch"].startswith("piecewise")

    png = figure.read_bytes()
    assert png.startswith(b"\x89PNG") and struct.unpack(">II", png[16:24]) == (2000, 1600)
    assert not list(tmp_path.glob("*.pt")), "nothing is trained"


def plan_here(*arguments):
    """Run the command in this process; return its exit code."""
    return cli.main(["plan", *map(str, arguments)])


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (("--bas-batch-schedule", "1x@0,2x@later"), "the clock 'later' is not a whole number"),
        (("--bas-batch-schedule", "smith:max=4x"), "pass --lr-scheduler bas_scaled"),
        (("--bas-replicas", 0), "'0' is not a whole number of at least 1"),
        (("--lr-scheduler", "bas_legw"), "is a rule about warm-up, and there is none"),
    ],
)
def test_what_training_refuses_in_one_line(toy, tmp_path, capsys, extra, sentence):
    assert plan_here(*flags_of(toy, tmp_path, *extra)) == 1
    error = capsys.readouterr().err
    assert error.startswith("fairseq-bas plan: ") and sentence in error
    assert error.count("\n") == 1


def test_input_that_makes_no_plan(toy, tmp_path, capsys, monkeypatch):
    flags = flags_of(toy, tmp_path)
    reports = ("--json", tmp_path / "missing" / "plan.json")
    bare = [toy.bin, "--task", "bas_translation", "--arch", "lstm"]
    for arguments, sentence in (
        ((), "there is no run to plan"),
        ((*flags, *reports), "cannot be written"),
        (bare, "neither --max-tokens nor --batch-size bounds a micro-batch"),
        ((tmp_path, *flags[1:]), "holds no train.SOURCE-TARGET.* file"),
    ):
        assert plan_here(*arguments) == 1
        assert sentence in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert plan_here(*flags, "--figure", tmp_path / "plan.png") == 1
    assert "--figure needs matplotlib" in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def test_wrong_usage_is_still_wrong_usage(toy, tmp_path, capsys):
    for arguments in (
        ["plan", *flags_of(toy, tmp_path, "--no-such-flag")],
        ["score", "hypotheses.txt", "--ref", "reference.txt", "--arch", "lstm"],
    ):
        with pytest.raises(SystemExit) as wrong:
            cli.main([str(argument) for argument in arguments])
        assert wrong.value.code == 2
        assert "unrecognized arguments: " in capsys.readouterr().err


def test_both_ends_notes_and_what_is_left_out(toy, tmp_path, capsys):
    """A measured batch has two tables; without an end of the run, ten epochs are planned."""
    (tmp_path / "checkpoint_last.pt").write_bytes(b"")
    measured = ("--bas-batch-schedule", "cabs:max=4x", "--patience", 3, "--no-memory")
    assert plan_here(*flags_of(toy, tmp_path, *measured)) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "course low" in text and "course high" in text
    assert "150 updates in 10 epochs" in text and "if high: the batch grows to 4 times" in text
    assert "the run has no end, and its first 10 epochs are planned" in text
    assert "--patience may end the run earlier" in text
    assert f"training would resume {tmp_path / 'checkpoint_last.pt'}" in text
    assert "memory" not in text
