"""Real runs with NT-ASGD on fairseq's own task and model: checkpoints, validation, resume."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fairseq import checkpoint_utils

from tests.processes import json_log, run_cli
from tests.toys import tiny_lstm_lm

UPDATES = 16
# All within one epoch, since fairseq itself mixes the batches of later epochs anew on resume.
DATA = ("--tokens-per-sample", 10, "--max-tokens", 10)
SGD = ("--lr", 9, "--weight-decay", 1e-4, "--clip-norm", 2)
NT_ASGD = (
    *("--optimizer", "bas_nt_asgd", "--bas-nonmono", 1),
    *("--save-interval-updates", 4, "--validate-interval-updates", 3),
)


def train(toy_lm, save_dir, *flags, updates=UPDATES):
    flags = (*tiny_lstm_lm(toy_lm, save_dir), *DATA, *SGD, *flags, "--max-update", updates)
    return run_cli("fairseq_cli.train", *flags)


def in_three_parts(toy_lm, save_dir):
    """Stop where no validation is due, once before averaging starts and once after."""
    return [train(toy_lm, save_dir, *NT_ASGD, updates=updates) for updates in (5, 13, UPDATES)]


@pytest.fixture(scope="module")
def runs(toy_lm, tmp_path_factory):
    """Plain SGD with every iterate saved, NT-ASGD in one go, and NT-ASGD stopped twice."""
    folder = tmp_path_factory.mktemp("nt_asgd")
    every = ("--optimizer", "sgd", "--save-interval-updates", 1, "--disable-validation")
    with ThreadPoolExecutor(2) as pool:
        parts = pool.submit(in_three_parts, toy_lm, folder / "parts")
        train(toy_lm, folder / "sgd", *every)
        log = train(toy_lm, folder / "whole", *NT_ASGD)
        return folder, log, parts.result()


def load(path):
    return torch.load(path, weights_only=False)


def models_by_update(folder):
    """Return the ``model`` of each checkpoint of a folder by its number of updates."""
    states = [load(path) for path in folder.glob("checkpoint*_*.pt")]
    states += [load(path) for path in folder.glob("checkpoint?.pt")]
    return {state["optimizer_history"][-1]["num_updates"]: state["model"] for state in states}


def validations(log):
    return [(int(x["valid_num_updates"]), float(x["valid_loss"])) for x in json_log(log, "valid")]


def trigger_of(log, nonmono=1):
    """Return the number of updates at the validation that starts averaging, by the definition."""
    history = []
    for update, loss in validations(log):
        if len(history) > nonmono and loss > min(history[: len(history) - nonmono]):
            return update
        history.append(loss)
    raise AssertionError("the runs must be long enough to start averaging")


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_checkpoints_hold_the_mean_of_the_iterates_since_the_trigger(runs):
    folder, log, _ = runs
    trigger = trigger_of(log)
    assert trigger < UPDATES - 4
    iterates, saved = models_by_update(folder / "sgd"), models_by_update(folder / "whole")
    assert len(iterates) == UPDATES
    for update, model in saved.items():
        if update <= trigger:
            assert_same(model, iterates[update])
            continue
        averaged = [iterates[u] for u in range(trigger + 1, update + 1)]
        for name, weight in model.items():
            mean = torch.stack([iterate[name].double() for iterate in averaged]).mean(0)
            torch.testing.assert_close(weight.double(), mean, rtol=1e-5, atol=1e-6)
    assert any(update > trigger for update in saved)


def test_stopped_and_resumed_run_ends_bit_equal(runs):
    folder, log, parts = runs
    assert 5 < trigger_of(log) < 13
    counts = [len(json_log(part, "train_inner")) for part in parts]
    assert counts == [5, 8, UPDATES - 13]
    whole, resumed = (load(folder / n / "checkpoint_last.pt") for n in ("whole", "parts"))
    assert_same(whole["model"], resumed["model"])
    ours, theirs = whole["last_optimizer_state"], resumed["last_optimizer_state"]
    assert ours["averaging"] == theirs["averaging"]
    assert ours["state"].keys() == theirs["state"].keys() and ours["state"]
    for index in ours["state"]:
        assert ours["state"][index].keys() == {"average", "iterate"}
        assert_same(ours["state"][index], theirs["state"][index])


def test_validations_without_checkpoint_count(runs):
    folder, log, _ = runs
    saved = load(folder / "whole" / "checkpoint_last.pt")["last_optimizer_state"]["averaging"]
    losses = [loss for update, loss in validations(log) if update <= trigger_of(log)]
    assert saved["history"] == losses
    assert 3 in dict(validations(log)) and 3 not in models_by_update(folder / "whole")


def valid_loss(path, weights=None):
    """Return the loss in bits of a checkpoint on the validation set, loaded as fairseq-eval-lm."""
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    if weights is not None:
        model.load_state_dict(weights)
    model.eval()
    task.load_dataset("valid")
    loss = tokens = 0
    for index in range(len(task.dataset("valid"))):
        sample = task.dataset("valid").collater([task.dataset("valid")[index]])
        logits, _ = model(**sample["net_input"])
        loss += torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), sample["target"].flatten(), reduction="sum"
        )
        tokens += sample["ntokens"]
    return float(loss) / tokens / torch.log(torch.tensor(2.0)).item()


@torch.no_grad()
def test_logged_validation_is_of_the_average_that_other_commands_load(runs):
    folder, log, _ = runs
    update, logged = validations(log)[-1]
    path = folder / "whole" / "checkpoint_last.pt"
    assert update == UPDATES
    assert valid_loss(path) == pytest.approx(logged, abs=1e-3)
    iterate = models_by_update(folder / "sgd")[UPDATES]
    assert abs(valid_loss(path, iterate) - logged) > 5e-3
