"""``fairseq-bas perplexity`` on one tiny trained model, against loops and fairseq-eval-lm."""

import argparse
import copy
import csv
import json
import math
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fairseq import tasks
from fairseq.data import Dictionary, indexed_dataset

from fairseq_bas import cli
from fairseq_bas.nn.carried_state import CarriedState
from fairseq_bas.nn.dynamic_evaluation import DynamicEvaluation
from fairseq_bas.tool.language_model import load_model, load_text
from fairseq_bas.tool.text_scores import score_text
from tests.processes import USER_DIR, run_cli
from tests.toys import tiny_awd_lstm_lm

WINDOW, THETA, LAMBDA = 20, 0.5, 0.2
LR, DECAY, SEGMENT, EPSILON, STREAMS = 2e-3, 0.05, 7, 1e-4, 20
CACHE = ("--cache-window", WINDOW, "--cache-theta", THETA, "--cache-lambda", LAMBDA)
DYNAMIC = (
    *("--dynamic-lr", LR, "--dynamic-decay", DECAY, "--dynamic-segment", SEGMENT),
    *("--dynamic-streams", STREAMS, "--dynamic-epsilon", EPSILON),
)
METHODS = ["static", "cache", "dynamic", "both"]


def perplexity(*args):
    """Run the command in this process, which spares the seconds that imports take."""
    return cli.main(["perplexity", *map(str, args)])


@pytest.fixture(scope="module")
def runs(toy_lm, tmp_path_factory):
    """Train a model, then measure it by this command and by fairseq's."""
    folder = tmp_path_factory.mktemp("perplexity")
    run_cli(
        "fairseq_cli.train",
        *tiny_awd_lstm_lm(toy_lm, folder),
        *("--max-epoch", 3, "--no-epoch-checkpoints"),
    )
    best, last = (folder / f"checkpoint_{name}.pt" for name in ("best", "last"))
    with ThreadPoolExecutor(2) as pool:
        measured = pool.submit(
            run_cli,
            *("fairseq_bas", "perplexity", toy_lm.bin, "--path", f"{best}:{last}", "--cpu"),
            *(*CACHE, *DYNAMIC, "--json", folder / "out.json", "--token-nll", folder / "nll.tsv"),
        )
        eval_lm = run_cli(
            "fairseq_cli.eval_lm",
            *(toy_lm.bin, "--user-dir", USER_DIR, "--task", "bas_language_modeling", "--cpu"),
            *("--path", best, "--gen-subset", "test"),
        )
        return folder, best, measured.result(), eval_lm


@pytest.fixture(scope="module")
def document(runs):
    return json.loads((runs[0] / "out.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def columns(runs):
    """Return for each method the loss of every token of the first checkpoint."""
    with open(runs[0] / "nll.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    rows = [row for row in rows if row["checkpoint"] == str(runs[1])]
    return {name: [float(row[name]) for row in rows] for name in METHODS}, rows


@pytest.fixture(scope="module")
def model(runs, toy_lm):
    return load_model(str(runs[1]), str(toy_lm.bin)).model


def tokens_of(toy_lm, split, model):
    """Return a text from its plain file, as ids."""
    lines = (toy_lm.text / f"{split}.en").read_text(encoding="utf-8").splitlines()
    dictionary = model.decoder.dictionary
    return torch.tensor(
        [dictionary.index(word) for line in lines for word in (*line.split(), "</s>")]
    )


def shifted(tokens, model):
    return torch.cat([torch.tensor([model.decoder.dictionary.eos()]), tokens[:-1]])


def test_static_equals_eval_lm(runs, document):
    _, _, result, eval_lm = runs
    pattern = r"Loss \(base 2\): (\S+), Perplexity: (\S+)"
    [(loss, found)] = re.findall(pattern, eval_lm.stdout + eval_lm.stderr)
    static = document["checkpoints"][0]["methods"]["static"]
    assert f"{static['bits_per_token']:.4f}" == loss
    assert f"{static['perplexity']:.2f}" == found
    assert result.stdout.splitlines()[1].split()[2] == found


def test_static_equals_forward_of_whole_text(columns, model, toy_lm):
    losses, rows = columns
    tokens = tokens_of(toy_lm, "test", model)
    with torch.no_grad():
        logits = model(shifted(tokens, model)[None])[0][0]
    expected = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    assert losses["static"] == pytest.approx(expected.tolist(), rel=1e-5)
    assert [row["token"] for row in rows] == [model.decoder.dictionary[word] for word in tokens]


def cached(log_probs, hidden, tokens):
    """Return the losses with a cache, by the definition."""
    losses = []
    for step, word in enumerate(tokens):
        prob = math.exp(log_probs[step])
        past = range(max(0, step - WINDOW), step)
        mass = {i: math.exp(THETA * float(hidden[i] @ hidden[step])) for i in past}
        if mass:
            same = sum(mass[i] for i in past if tokens[i] == word)
            prob = (1 - LAMBDA) * prob + LAMBDA * same / sum(mass.values())
        losses.append(-math.log(prob))
    return losses


def test_cache_equals_loop(columns, model, toy_lm):
    losses, _ = columns
    tokens = tokens_of(toy_lm, "test", model)
    with torch.no_grad():
        hidden, _ = model.decoder.extract_features(shifted(tokens, model)[None])
    expected = cached([-loss for loss in losses["static"]], hidden[0].double(), tokens)
    assert losses["cache"] == pytest.approx(expected, rel=1e-4)
    assert losses["cache"] != pytest.approx(losses["static"], rel=1e-3)


def read(model, inputs, labels, state):
    """Return hidden states, log-probabilities of the labels, and the state to go on with."""
    carried = CarriedState(state)
    hidden, _ = model.decoder.extract_features(inputs, state=carried)
    log_probs = model.decoder.output_layer(hidden).log_softmax(-1)
    return hidden, log_probs.gather(-1, labels[..., None])[..., 0], carried.value


def test_dynamic_equals_loop(columns, model, toy_lm):
    losses, _ = columns
    model = copy.deepcopy(model)
    parameters, trained = list(model.parameters()), copy.deepcopy(list(model.parameters()))
    train, test = tokens_of(toy_lm, "train", model), tokens_of(toy_lm, "test", model)
    length = len(train) // STREAMS
    streams = [
        part[: STREAMS * length].view(STREAMS, -1) for part in (shifted(train, model), train)
    ]
    squares, state, batches = [0.0] * len(parameters), None, range(0, length, SEGMENT)
    for start in batches:
        part = [stream[:, start : start + SEGMENT] for stream in streams]
        _, log_probs, state = read(model, *part, state)
        slopes = torch.autograd.grad(-log_probs.mean(), parameters)
        squares = [a + b**2 for a, b in zip(squares, slopes, strict=True)]
    rms = [(square / len(batches)) ** 0.5 for square in squares]
    mean = sum(part.mean() for part in rms) / len(rms)
    found, features, state = [], [], None
    for start in range(0, len(test), SEGMENT):
        place = slice(start, start + SEGMENT)
        inputs, labels = shifted(test, model)[None, place], test[None, place]
        hidden, log_probs, state = read(model, inputs, labels, state)
        found += log_probs[0].tolist()
        features.append(hidden[0].detach().double())
        slopes = torch.autograd.grad(-log_probs.mean(), parameters)
        for new, old, slope, scale in zip(parameters, trained, slopes, rms, strict=True):
            pull = (DECAY * scale / mean).clamp(max=1)
            new.data += pull * (old - new.data) - LR * slope / (scale + EPSILON)
    assert losses["dynamic"] == pytest.approx([-x for x in found], rel=1e-4)
    assert losses["both"] == pytest.approx(cached(found, torch.cat(features), test), rel=1e-4)
    assert losses["dynamic"] != pytest.approx(losses["static"], rel=1e-3)


@pytest.mark.parametrize(
    "flags",
    [
        {"bas_adaptive_softmax_cutoff": "6,9"},
        {"bas_softmaxes": 3},
        {"bas_zoneout_cell": 0.3, "bas_zoneout_hidden": 0.1, "bas_weight_drop": 0},
        {"bas_untied": True},
    ],
    ids=["adaptive", "mixture", "zoneout", "untied"],
)
def test_every_output_layer_is_scored_and_adapted(toy_lm, flags):
    torch.manual_seed(1)
    task = tasks.setup_task(argparse.Namespace(task="language_modeling", data=str(toy_lm.bin)))
    sizes = {"bas_embed_dim": 8, "bas_hidden_dim": 8, "bas_layers": 2}
    args = argparse.Namespace(arch="bas_awd_lstm_lm", _name="bas_awd_lstm_lm", **sizes, **flags)
    model = task.build_model(args).eval()
    text = load_text(str(toy_lm.bin), "test", task.dictionary)
    tokens = tokens_of(toy_lm, "test", model)
    with torch.no_grad():
        output = model(shifted(tokens, model)[None])
        target = {"target": tokens[None]}
        log_probs = model.get_normalized_probs(output, log_probs=True, sample=target)[0]
    expected = log_probs.gather(1, tokens[:, None])[:, 0].double()
    for segment in (10, len(tokens)):
        found = score_text(model, text, segment=segment).model
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    before = copy.deepcopy(model.state_dict())
    with DynamicEvaluation(model, lr=0.5) as dynamic:
        adapted = score_text(model, text, dynamic=dynamic, segment=10).model
    torch.testing.assert_close(adapted[:10], expected[:10], rtol=1e-5, atol=1e-5)
    assert adapted[10:].mean() > expected[10:].mean()  # an untrained model learns fast
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="training mode"):
        score_text(model.train(), text)


def test_table_and_json_hold_the_same(runs, document, columns):
    _, _, result, _ = runs
    losses, _ = columns
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["Checkpoint", "Tokens", *(w for m in METHODS for w in (m, "bits"))]
    for line, found in zip(lines[1:3], document["checkpoints"], strict=True):
        cells = line.split()
        values = [(m["perplexity"], m["bits_per_token"]) for m in found["methods"].values()]
        assert cells[0] == found["path"]
        assert cells[2:] == [f"{value:.2f}" for pair in values for value in pair]
    methods = document["checkpoints"][0]["methods"]
    assert list(methods) == METHODS
    for name, column in losses.items():
        assert methods[name]["nats_per_token"] == pytest.approx(sum(column) / len(column))
        assert methods[name]["perplexity"] == pytest.approx(math.exp(sum(column) / len(column)))
    assert methods["both"]["settings"] == {
        "dynamic": {
            **{"lr": LR, "decay": DECAY, "segment": SEGMENT, "rule": "rms"},
            **{"epsilon": EPSILON, "streams": STREAMS},
        },
        "cache": {"window": WINDOW, "theta": THETA, "weight": LAMBDA},
    }
    assert document["text"]["counted"] == len(losses["static"]) == int(lines[1].split()[1])
    assert document["options"]["device"] == "cpu"


def test_tuning_takes_the_best_of_what_it_tried(runs, toy_lm, tmp_path, capsys):
    report = tmp_path / "tuned.json"
    flags = ("--split", "valid", "--tune", *CACHE, *DYNAMIC, "--json", report)
    assert perplexity(toy_lm.bin, "--path", runs[1], "--cpu", *flags) == 0
    tuned = json.loads(report.read_text(encoding="utf-8"))["checkpoints"][0]
    tried, methods = tuned["tuning"]["tried"], tuned["methods"]
    for name in ("cache", "dynamic", "both"):
        found = [entry["nll"] for entry in tried if entry["method"] == name]
        assert len(found) == {"cache": 49, "dynamic": 8, "both": 49}[name]
        # The text it reports on is the one it chose on, so it finds the same loss again.
        assert methods[name]["nats_per_token"] == pytest.approx(min(found), rel=1e-9)
    assert methods["cache"]["nats_per_token"] <= methods["static"]["nats_per_token"]
    assert "chosen on valid itself" in capsys.readouterr().out


def test_unknown_words_may_be_left_out(runs, tmp_path, toy_lm, capsys):
    data = tmp_path / "bin"
    data.mkdir()
    shutil.copy(toy_lm.bin / "dict.txt", data)
    dictionary = Dictionary.load(str(data / "dict.txt"))
    builder = indexed_dataset.make_builder(str(data / "test.bin"), "mmap", len(dictionary))
    for line in ("one two never three", "never four"):
        builder.add_item(dictionary.encode_line(line, add_if_not_exist=False))
    builder.finalize(str(data / "test.idx"))
    found = []
    for flags in ([], ["--skip-unknown"]):
        args = [data, "--path", runs[1], "--cpu", "--token-nll", tmp_path / "nll", *flags]
        assert perplexity(*args) == 0
        with open(tmp_path / "nll", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, dialect="excel-tab"))
        assert [row["token"] == "<unk>" for row in rows].count(True) == 2
        kept = [float(row["static"]) for row in rows if row["counted"] == "1"]
        line = capsys.readouterr().out.splitlines()[1].split()
        assert line[1:3] == [str(len(kept)), f"{math.exp(sum(kept) / len(kept)):.2f}"]
        found.append(len(kept))
    assert found == [8, 6]
