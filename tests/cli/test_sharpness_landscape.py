"""``fairseq-bas sharpness`` and ``landscape`` on tiny models, against fairseq's own parts."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.criterions.cross_entropy import CrossEntropyCriterion

from fairseq_bas import cli
from tests.in_process import train_here
from tests.processes import run_cli
from tests.toys import tiny_lstm_lm, tiny_transformer

GENERATION = '{"beam": 2, "max_len_a": 1.2, "max_len_b": 10}'


def command(*args):
    """Run a command in this process, which spares the seconds that imports take."""
    return cli.main([str(arg) for arg in args])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("surfaces")


@pytest.fixture(scope="module")
def pair(toy, folder):
    """Train a translation model; return its checkpoints after 4 and after 16 epochs."""
    flags = tiny_transformer(toy, folder / "mt")
    train_here(
        [*flags, "--lr", 0.01, "--max-epoch", 16, "--save-interval", 4, "--no-last-checkpoints"]
    )
    return [folder / "mt" / f"checkpoint{epoch}.pt" for epoch in (4, 16)]


@pytest.fixture(scope="module")
def language_model(toy_lm, folder):
    train_here([*tiny_lstm_lm(toy_lm, folder / "lm"), "--max-epoch", 1, "--no-epoch-checkpoints"])
    return folder / "lm" / "checkpoint_last.pt"


def evaluated(toy, path, split):
    """Return the loss of a split in nats per token and its BLEU, by fairseq's own parts."""
    overrides = {
        "data": str(toy.bin),
        "eval_bleu": True,
        "eval_bleu_args": GENERATION,
        "eval_bleu_detok": "space",
    }
    [model], _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)], overrides)
    model.eval()
    task.load_dataset(split)
    dataset = task.dataset(split)
    sample = dataset.collater([dataset[index] for index in range(len(dataset))])
    criterion = CrossEntropyCriterion(task, sentence_avg=False)
    with torch.no_grad():
        loss, tokens, _ = criterion(model, sample)
    bleu = task._inference_with_bleu(task.sequence_generator, sample, model)
    return loss.item() / tokens, bleu.score


def test_landscape_at_the_ends_is_what_fairseq_evaluates(toy, pair, folder, capsys):
    figure, report = folder / "line.png", folder / "line.json"
    paths = ":".join(map(str, pair))
    options = ("--cpu", "--points", 4, "--bleu", "--beam", 2, "--max-tokens", 150)
    files = ("--json", report, "--figure", figure)
    assert command("landscape", toy.bin, "--path", paths, *options, *files) == 0
    document = json.loads(report.read_text(encoding="utf-8"))
    assert document["axis"] == [-1, 0, 1, 2]
    assert [facts["path"] for facts in document["checkpoints"]] == [str(path) for path in pair]
    assert document["texts"]["train"]["sentences"] == 60
    [view] = document["views"]
    for path, point in zip(pair, view["points"][1:3], strict=True):
        for split in ("train", "valid"):
            loss, bleu = evaluated(toy, path, split)
            assert point["loss"][split] == pytest.approx(loss, rel=1e-5)
            assert point["perplexity"][split] == pytest.approx(math.exp(loss), rel=1e-4)
        assert point["bleu"] == pytest.approx(bleu, abs=1e-6)
    assert view["points"][2]["bleu"] > 0
    states = [checkpoint_utils.load_checkpoint_to_cpu(str(path))["model"] for path in pair]
    trained = [
        name for name in states[0] if "embed_positions" not in name and "version" not in name
    ]
    distinct = [name for name in trained if name not in ("decoder.embed_tokens.weight", TIED)]
    distance = sum(float((states[1][n] - states[0][n]).double().square().sum()) for n in distinct)
    assert view["distance"] == pytest.approx(distance**0.5, rel=1e-5)
    assert figure.read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out.splitlines()
    assert " ".join(table[0].split()) == "alpha train loss train ppl valid loss valid ppl BLEU"
    assert table[2].split()[1] == f"{view['points'][1]['loss']['train']:#.5g}"


TIED = "decoder.output_projection.weight"


def test_planes_and_slices_hold_the_checkpoint_in_their_middle(toy, pair, folder):
    losses = [evaluated(toy, path, "valid")[0] for path in pair]
    report, figure = folder / "slice.json", folder / "slice.png"
    paths = ("--path", ":".join(map(str, pair)), "--cpu", "--split", "valid", "--json", report)
    for kind, points, middle in (("slice", 5, 2), ("plane", 3, 4)):
        options = ("--kind", kind, "--points", points, "--figure", figure)
        assert command("landscape", toy.bin, *paths, *options) == 0
        document = json.loads(report.read_text(encoding="utf-8"))
        assert figure.read_bytes().startswith(b"\x89PNG")
        for view, loss in zip(document["views"], losses, strict=True):
            point = view["points"][middle]
            assert set(point["at"]) == {0}
            assert point["loss"]["valid"] == pytest.approx(loss, rel=1e-5)
            assert view["norm_direction_1"] <= view["norm"]
            assert len({point["loss"]["valid"] for point in view["points"]}) > points / 2


def test_sharpness_of_two_checkpoints_in_a_process_of_its_own(toy, pair, folder):
    report, figure = folder / "sharpness.json", folder / "sharpness.png"
    result = run_cli(
        *("fairseq_bas", "sharpness", toy.bin, "--path", ":".join(map(str, pair)), "--cpu"),
        *(
            "--full",
            "--starts",
            2,
            "--iterations",
            2,
            "--epsilon",
            2e-3,
            1e-3,
            "--json",
            report,
            "--figure",
            figure,
        ),
    )
    document = json.loads(report.read_text(encoding="utf-8"))
    for path, found in zip(pair, document["checkpoints"], strict=True):
        assert found["conventions"]["columns"] == "identity"
        assert found["conventions"]["dimension"] == found["parameters"]
        wide, narrow = found["sharpness"]
        loss = evaluated(toy, path, "train")[0]
        assert wide["loss"] == narrow["loss"] == pytest.approx(loss, rel=1e-5)
        assert wide["phi"] > narrow["phi"] > 0
        rise = max(search["highest"] for search in wide["searches"]) - wide["loss"]
        assert wide["phi"] == pytest.approx(100 * rise / (1 + wide["loss"]))
        assert len(wide["searches"]) == 2
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert result.stdout.splitlines()[0].split() == [
        *("Checkpoint", "loss", "phi(0.002)", "phi(0.001)", "evaluations")
    ]


def test_language_model_has_perplexity_and_sharpness_in_a_subspace(
    toy_lm, language_model, folder, capsys
):
    report = folder / "lm.json"
    data = (toy_lm.bin, "--path", language_model, "--cpu", "--json", report)
    assert command("landscape", *data, "--split", "valid", "--points", 3) == 0
    [view] = json.loads(report.read_text(encoding="utf-8"))["views"]
    point = view["points"][1]
    assert point["perplexity"]["valid"] == pytest.approx(math.exp(point["loss"]["valid"]))
    phis = []
    for columns in ("normal", "unit"):
        options = ("--subspace", 5, "--columns", columns, "--epsilon", 1e-2, "--float64")
        assert command("sharpness", *data, *options, "--starts", 1) == 0
        [found] = json.loads(report.read_text(encoding="utf-8"))["checkpoints"]
        assert found["conventions"]["columns"] == columns
        assert found["conventions"]["dimension"] == 5
        phis.append(found["sharpness"][0]["phi"])
    assert phis[0] > 10 * phis[1] > 0  # columns of length about sqrt(n) against 1
    assert "A has 5 random columns of length 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sharpness", "--epsilon", 0), "--epsilon 0 makes no small box"),
        (("sharpness", "--epsilon", 0.1, 0.1), "names a value twice"),
        (("sharpness", "--starts", 0), "--starts 0 finds nothing"),
        (("sharpness", "--subspace", 10**6), "1000000 dimensions does not fit a model of"),
        (("landscape", "--kind", "line"), "--path names 1; name two"),
        (("landscape", "--split", "valid,valid"), "names no split or one twice"),
        (("landscape", "--points", 1), "make no row"),
        (("landscape", "--beam", 2), "--beam has no meaning without --bleu"),
        (("landscape", "--bleu", "--tokenizer", "mosses"), "--tokenizer mosses is not known"),
        (("landscape", "--bleu", "--remove-bpe", "x"), "--remove-bpe x is not known"),
    ],
)
def test_refusals_are_one_line(toy, pair, capsys, arguments, message):
    name, *options = arguments
    assert command(name, toy.bin, "--path", pair[0], "--cpu", *options) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"fairseq-bas {name}: ") and message in line


def test_models_that_do_not_fit_each_other_are_refused_in_one_line(
    toy, toy_lm, pair, language_model, folder, capsys
):
    from fairseq_bas.tool.landscape_run import require_same_architecture

    assert command("landscape", toy_lm.bin, "--path", language_model, "--cpu", "--bleu") == 1
    assert "is no translation model; leave --bleu out" in capsys.readouterr().err
    state = checkpoint_utils.load_checkpoint_to_cpu(str(pair[0]))
    state["cfg"]["model"].encoder_layers = 2
    extra = {
        name.replace("encoder.layers.0", "encoder.layers.1"): value.clone()
        for name, value in state["model"].items()
        if "encoder.layers.0" in name
    }
    state["model"].update(extra)
    deeper = folder / "deeper.pt"
    torch.save(state, deeper)
    assert command("landscape", toy.bin, "--path", f"{pair[0]}:{deeper}", "--cpu") == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "encoder.layers.1" in line and "is none in the first and (" in line
    surfaces = []
    for value in (1.0, 2.0):
        weight = torch.nn.Linear(1, 1)
        weight.register_buffer("fixed", torch.tensor(value))
        surface = SimpleNamespace(
            model=weight, names=["w"], shapes=[(1,)], parameters=[*weight.parameters()]
        )
        surfaces.append(SimpleNamespace(surface=surface, facts={"path": f"{value:g}.pt"}))
    with pytest.raises(ValueError, match=r"1\.pt and 2\.pt: fixed differs, which is not trained"):
        require_same_architecture(*surfaces)
