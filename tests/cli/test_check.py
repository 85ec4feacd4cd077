"""``fairseq-bas check`` as users run it: what it finds, prints and writes, and its exit code."""

import json
import os
import shutil

import pytest
import torch

from fairseq_bas import cli
from tests.in_process import train_here
from tests.processes import run_cli
from tests.toys import Toy, tiny_awd_lstm_lm, tiny_transformer


def check_here(capsys, *arguments):
    """Run the command in this process; return its exit code and its output as one line."""
    code = cli.main(["check", *map(str, arguments)])
    out, error = capsys.readouterr()
    assert error == ""
    assert out.count("a run would fail") == code
    return code, " ".join(out.split())


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    train_here([*tiny_transformer(toy, folder, task="bas_translation"), "--max-epoch", 1])
    return folder


def test_everything_in_order_in_a_process_of_its_own(toy, trained, tmp_path):
    report = tmp_path / "check.json"
    flags = tiny_transformer(toy, trained, task="bas_translation")
    path = trained / "checkpoint_last.pt"
    result = run_cli(
        "fairseq_bas", "check", *flags, "--max-epoch", 2, "--path", path, "--json", report
    )
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1].startswith("nothing was found that would stop a run; 1 w")
    document = json.loads(report.read_text())
    titles = [section["title"].partition(" ")[0] for section in document["sections"]]
    assert titles == ["environment", "data", "checkpoint", "run"] and document["exit_code"] == 0
    environment, data, checkpoint, run = (section["facts"] for section in document["sections"])
    assert environment["torch"] == torch.__version__
    train = data["en-de"]["splits"]["train"]
    words = (toy.text / "train.en").read_text().split()
    source = train["sides"]["source"]
    assert (source["sentences"], source["tokens"]) == (60, len(words) + 60)
    texts = [(toy.text / f"train.{side}").read_text().splitlines() for side in ("en", "de")]
    assert train["repeated"] == 60 - len(set(zip(*texts, strict=True)))
    assert (checkpoint["updates"], checkpoint["model"]) == (3, "transformer_iwslt_de_en")
    assert run["updates"] == [6]


def test_environment_alone(capsys):
    code, text = check_here(capsys)
    assert code == 0 and f"torch {torch.__version__}" in text and "data /" not in text


def damaged(toy, folder, name, place, value):
    copy = shutil.copytree(toy.bin, folder / "bin")
    with open(copy / name, "r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        file.write(value)
    return Toy(text=toy.text, bin=copy)


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        ("train.en-de.de.bin", 40, b"\xff\x7f", "holds token 32767 at place 20"),
        ("train.en-de.en.idx", 30, b"\x09", "train.en-de.en.idx is damaged: sentence"),
        ("dict.de.txt", 0, b"\n", "line 1 of"),
    ],
)
def test_damaged_data_is_found_by_the_check_and_by_training(
    toy, tmp_path, capsys, name, place, value, words
):
    copy = damaged(toy, tmp_path, name, place, value)
    code, text = check_here(capsys, copy.bin)
    assert code == 1 and words in text and name in text
    with pytest.raises(SystemExit, match=words):
        train_here([*tiny_transformer(copy, tmp_path, task="bas_translation"), "--max-epoch", 1])


def test_damaged_text_of_a_language_model(toy_lm, tmp_path, capsys):
    copy = damaged(toy_lm, tmp_path, "train.bin", -2, b"\xff\x00")
    flags = [*tiny_awd_lstm_lm(copy, tmp_path / "ck"), "--max-epoch", 1]
    code, text = check_here(capsys, *flags)
    assert code == 1 and "holds token 255" in text and "its dictionary has 16 entries" in text
    with pytest.raises(SystemExit, match="holds token 255"):
        train_here(flags)


def test_checkpoints(toy, toy_lm, trained, tmp_path, capsys):
    good = trained / "checkpoint_last.pt"
    cut, nan = tmp_path / "cut.pt", tmp_path / "nan.pt"
    cut.write_bytes(good.read_bytes()[:-300])
    state = torch.load(good)
    state["model"]["encoder.embed_tokens.weight"][3, 1] = float("nan")
    torch.save(state, nan)
    code, text = check_here(capsys, "--path", f"{cut}:{nan}:{good}")
    assert code == 1
    assert f"{cut} is incomplete or damaged" in text
    assert "hold numbers that are not finite" in text and "3 updates" in text
    assert "2 problems" in text
    code, text = check_here(capsys, toy_lm.bin, "--path", good)
    assert code == 1 and "it holds a translation model and the data are for a language" in text
    shutil.copytree(toy.bin, tmp_path / "bin")
    with open(tmp_path / "bin/dict.de.txt", "a") as file:
        file.write("eleven 1\n")
    code, text = check_here(capsys, tmp_path / "bin", "--path", good)
    assert code == 1 and "decoder.embed_tokens.weight has 24 rows and dict.de.txt 25" in text


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (("--max-token", 9, "--max-epok", 1), 1, ["--max-epok (did you mean --max-epoch?)"]),
        (("--bas-replicas", 0), 1, ["'0' is not a whole number of at least 1"]),
        (
            ("--max-source-positions", 8, "--max-epoch", 1),
            1,
            ["Size of sample", "14 of 60 training sentences (23.3%) are longer"],
        ),
        (
            *(("--best-checkpoint-metric", "bleu", "--optimizer", "sgd", "--max-epoch", 1), 1),
            ["pass --eval-bleu too", "pass --reset-optimizer"],
        ),
        (
            *(("--encoder-layers", 2, "--max-tokens-valid", 3, "--max-epoch", 1), 1),
            ["holds another model", "raise --max-tokens-valid"],
        ),
        (("--valid-subset", "dev"), 1, ["holds no dev.en-de.en"]),
        (
            (
                *("--optimizer", "sgd", "--reset-optimizer", "--max-epoch", 2, "--lr", 7),
                *("--patience", 2, "--disable-validation"),
            ),
            0,
            ["would go on from", "--patience 2 never", "--lr is given as 0.003 and as 7"],
        ),
    ],
)
def test_flags_of_a_run(toy, trained, capsys, extra, code, words):
    flags = tiny_transformer(toy, trained, task="bas_translation")
    found, text = check_here(capsys, *flags, *extra)
    assert [part for part in words if part not in text] == [] and found == code


def test_flags_that_only_this_command_can_read(toy, tmp_path, capsys):
    """Names of the plugin without --user-dir; no model; a folder that is a file."""
    code, text = check_here(capsys, toy.bin, "--task", "bas_translation", "--max-tokens", 100)
    assert code == 1 and "no model is named; pass --arch" in text
    (tmp_path / "file").touch()
    flags = tiny_transformer(toy, tmp_path / "file", task="bas_translation")
    place = flags.index("--user-dir")
    code, text = check_here(capsys, *flags[:place], *flags[place + 2 :], "--max-epoch", 1)
    assert code == 1 and "add --user-dir fairseq_bas" in text and "is a file; name a folder" in text


def test_what_the_command_itself_refuses(capsys, tmp_path):
    for arguments, words in (
        (("--json", tmp_path / "no" / "x.json"), "cannot be written"),
        (("--path", ""), "names no checkpoint"),
    ):
        assert cli.main(["check", *map(str, arguments)]) == 1
        out, error = capsys.readouterr()
        assert words in error and error.count("\n") == 1 and out == ""
