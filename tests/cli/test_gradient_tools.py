"""``fairseq-bas noise-scale`` and ``replica-variance`` as users run them."""

import json
import struct

import pytest

from fairseq_bas import cli
from tests.in_process import train_here
from tests.processes import run_cli
from tests.toys import tiny_awd_lstm_lm, tiny_transformer


@pytest.fixture(scope="module")
def translator(toy, tmp_path_factory):
    """A checkpoint of a transformer that was trained with word noise."""
    folder = tmp_path_factory.mktemp("translator")
    flags = tiny_transformer(toy, folder, task="bas_translation")
    noise = ("--bas-replicas", 2, "--bas-source-noise", "mask=0.1", "--bas-complementary-noise")
    train_here([*flags, *noise, "--max-update", 4, "--disable-validation"])
    return folder / "checkpoint_last.pt"


def test_which_copies_are_worth_paying_for(toy, translator, tmp_path):
    """A real process: three kinds of noise, prices that are given, everything written."""
    document, figure = tmp_path / "copies.json", tmp_path / "copies.png"
    run = run_cli(
        "fairseq_bas",
        *("replica-variance", toy.bin, "--path", translator, "--batches", 6, "--copies", 2),
        *("--noise", "strong = --dropout 0.6 --attention-dropout 0.6", "--max-tokens", 120),
        *("--replicas", "2,4,8", "--cost", "4=2,8=3", "--json", document, "--figure", figure),
    )
    (found,) = json.loads(document.read_text(encoding="utf-8"))["checkpoints"]
    noises = {noise["name"]: noise for noise in found["noises"]}
    assert list(noises) == ["dropout", "run", "strong"]
    assert noises["strong"]["within"]["low"] > 2 * noises["dropout"]["within"]["high"]
    assert noises["run"]["within"]["value"] > noises["dropout"]["within"]["value"]
    for noise in noises.values():
        rho, rows = noise["correlation"], noise["copies"]
        assert 0 <= rho["low"] < rho["value"] < rho["high"] <= 1
        total = noise["between"]["value"] + noise["within"]["value"]
        assert rho["value"] == pytest.approx(noise["between"]["value"] / total)
        assert [row["replicas"] for row in rows] == [1, 2, 4, 8]
        assert [row["price"] for row in rows] == pytest.approx([1, 4 / 3, 2, 3])
        for row in rows:
            variance = noise["between"]["value"] + noise["within"]["value"] / row["replicas"]
            assert row["worth"]["value"] == pytest.approx(total / variance)
            assert row["worth_per_price"] == pytest.approx(total / variance / row["price"])
        assert noise["answer"] in " ".join(run.stdout.split())
    assert found["notes"] == [
        "--bas-complementary-noise of the run is left out: each copy is measured alone, as an "
        "independent draw"
    ]
    assert found["micro_batches"] == 6 and found["unit"] == "target tokens"
    png = figure.read_bytes()
    assert png.startswith(b"\x89PNG") and struct.unpack(">II", png[16:24]) == (2000, 900)
    assert run.stderr == "", "it is quick, so nothing is said of progress"


def command(name, *arguments):
    """Run a command in this process; return its exit code."""
    return cli.main([name, *map(str, arguments)])


def test_noise_scales_of_two_checkpoints(toy, translator, tmp_path, capsys):
    """The second is the same file: the same numbers; repeats and lengths are reported apart."""
    again = tmp_path / "again.pt"
    again.write_bytes(translator.read_bytes())
    document, figure = tmp_path / "scale.json", tmp_path / "scale.png"
    paths = f"{translator}:{again}"
    options = ("--batches", 4, "--repeats", 2, "--at", "100,50", "--max-tokens", 120)
    reports = ("--json", document, "--figure", figure)
    assert command("noise-scale", toy.bin, "--path", paths, *options, *reports) == 0
    one, other = json.loads(document.read_text(encoding="utf-8"))["checkpoints"]
    for key in ("sha256", "variance", "squared_gradient", "repeats", "by_length"):
        assert one[key] == other[key], key
    scale = one["noise_scale_tokens"]["value"]
    assert scale == pytest.approx(one["variance"]["value"] / one["squared_gradient"]["value"])
    in_sentences = one["noise_scale_sentences"]["value"]
    assert in_sentences / one["sentences"] == pytest.approx(scale / one["tokens"])
    assert [batch["tokens"] for batch in one["batches"]] == [50, 100]
    assert one["batches"][0]["update_progress"] == pytest.approx(1 / (1 + scale / 50))
    assert one["batches"][1]["data_efficiency"] == pytest.approx(1 / (1 + 100 / scale))
    assert len(one["repeats"]) == 2 and one["repeats"][0] != one["repeats"][1]
    assert one["micro_batches"] == 8
    text = capsys.readouterr().out
    assert "is between lengths and grows with the micro-batch" in " ".join(text.split())
    assert "repeat 2 alone: noise scale" in text
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_language_models_with_streams(toy_lm, tmp_path):
    """Windows at random places; without noise the variance is smaller."""
    flags = tiny_awd_lstm_lm(toy_lm, tmp_path)
    train_here([*flags, "--bas-variable-bptt", "--max-update", 3, "--disable-validation"])
    path, documents = tmp_path / "checkpoint_last.pt", []
    for options in ((), ("--no-noise",)):
        report = tmp_path / "scale.json"
        given = (toy_lm.bin, "--path", path, "--batches", 8, "--json", report, *options)
        assert command("noise-scale", *given) == 0
        documents.append(json.loads(report.read_text(encoding="utf-8"))["checkpoints"][0])
    noisy, quiet = documents
    assert noisy["unit_of_text"] == "windows" and noisy["tokens_per_micro_batch"] < 5 * 12 + 1
    assert noisy["variance"]["value"] > quiet["variance"]["value"] > 0
    assert noisy["notes"] == [
        "--bas-batching streams of the run is left out: windows are read at random places, each "
        "from a zero state"
    ]
    priced = ("--batches", 4, "--copies", 2, "--replicas", "2", "--cost", "rows")
    given = (toy_lm.bin, "--path", path, *priced, "--json", report)
    assert command("replica-variance", *given) == 0
    (found,) = json.loads(report.read_text(encoding="utf-8"))["checkpoints"]
    first, second = (row["price"] for row in found["noises"][0]["copies"])
    assert first == 1 <= second < 20, "measured here"


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("noise-scale", ("--batches", 2), "--batches 2 shows no error bar"),
        ("noise-scale", ("--at", "4k"), "--at 4k is no list of numbers of target tokens"),
        ("noise-scale", ("--repeats", 0), "--repeats 0 measures nothing"),
        ("noise-scale", ("--max-tokens", 2), "no sentence is as short as"),
        ("noise-scale", ("--json", "missing/x.json"), "its folder is missing"),
        ("replica-variance", ("--copies", 1), "--copies 1 shows no difference"),
        ("replica-variance", ("--replicas", "1,x"), "--replicas 1,x is no list of whole numbers"),
        ("replica-variance", ("--cost", "4=0"), "--cost 4=0 is neither passes nor rows"),
        ("replica-variance", ("--cost", "4=0.5"), "must be positive and not fall"),
        ("replica-variance", ("--noise", "drop"), "--noise 'drop' holds no flag"),
        ("replica-variance", ("--noise", "run = --dropout 0"), "run is measured anyway"),
        ("replica-variance", ("--noise", "--bas-share encoder"), "--bas-share decides how copies"),
        ("replica-variance", ("--noise", "--bas-source-noise x=1"), "--bas-source-noise"),
    ],
)
def test_what_is_refused_in_one_line(toy, translator, capsys, name, options, sentence):
    assert command(name, toy.bin, "--path", translator, *options) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fairseq-bas {name}: ") and sentence in error
    assert error.count("\n") == 1
