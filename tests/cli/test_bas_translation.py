"""The command line, real processes: training, placements, validation, generation, flags."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from fairseq import options

from fairseq_bas.criterion.consistency_config import BasCrossEntropyConfig
from fairseq_bas.task.noise_config import NoiseConfig
from fairseq_bas.task.recipe import RecipeConfig
from fairseq_bas.task.replica_config import ReplicaConfig
from tests.processes import USER_DIR, json_log, run_cli
from tests.toys import tiny_lstm, tiny_transformer


def train(toy, save_dir, *extra, flags=tiny_transformer, task="bas_translation", **kwargs):
    """Train 12 updates and return the finished process."""
    return run_cli(
        "fairseq_cli.train",
        *(*flags(toy, save_dir, task=task), "--max-update", 12, "--no-epoch-checkpoints", *extra),
        **kwargs,
    )


def parameters(save_dir):
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=False)["model"]


def assert_same_parameters(one, other):
    one, other = parameters(one), parameters(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """A model trained with four copies and dropout, by the task and by any fairseq criterion."""
    save_dir = tmp_path_factory.mktemp("trained")
    return save_dir, train(toy, save_dir, "--bas-replicas", 4)


def test_logs_distinct_and_replicated_batch(trained):
    _, result = trained
    updates = json_log(result, "train_inner")
    assert len(updates) == 12
    for update in updates:
        assert float(update["bas_replicas"]) == 4
        assert float(update["bas_wpb"]) == pytest.approx(4 * float(update["wpb"]), abs=0.4)
    block = result.stderr + result.stdout
    assert block.count("batch augmentation\n") == 1
    assert "M = 4, placed as rows: 4 = 1 workers x 1 passes x 4 rows" in block
    assert all("bas_replicas" not in line for line in json_log(result, "valid"))


def test_sentences_that_fairseq_leaves_out_are_counted(toy, tmp_path):
    """60 sentences in batches of 7: fairseq drops the last four."""
    flags = ("--batch-size", 7, "--required-batch-size-multiple", 7)
    result = train(toy, tmp_path, *flags)
    assert "update         1 micro-batches: 7 sentences" in result.stdout
    assert "left out       4 of 60 sentences" in result.stdout


def test_one_copy_is_the_default_and_equals_plain_fairseq_without_noise(toy, tmp_path):
    plain = train(toy, tmp_path / "plain", "--dropout", 0, task="translation")
    ours = train(toy, tmp_path / "ours", "--dropout", 0)
    assert_same_parameters(tmp_path / "plain", tmp_path / "ours")
    drop = ("valid_wps", "train_wall", "wall")
    for one, other in zip(json_log(plain, "valid"), json_log(ours, "valid"), strict=True):
        assert {k: v for k, v in one.items() if k not in drop} == {
            k: v for k, v in other.items() if k not in drop
        }


def test_validation_is_the_same_with_and_without_the_plugin(toy, trained):
    """Law 4, for a model trained with copies: fairseq's own task gives the same numbers."""
    save_dir, _ = trained
    logs = []
    for task in ("translation", "bas_translation"):
        result = run_cli(
            "fairseq_cli.validate",
            *(toy.bin, "--user-dir", USER_DIR, "--task", task, "--cpu", "--max-tokens", 200),
            *("--path", save_dir / "checkpoint_last.pt", "--log-format", "json"),
        )
        line = next(x for x in (result.stdout + result.stderr).splitlines() if "valid_loss" in x)
        logs.append(json.loads(line[line.index("{") :]))
    assert logs[0]["valid_loss"] == logs[1]["valid_loss"]
    assert logs[0]["valid_ppl"] == logs[1]["valid_ppl"]


def test_generate_and_interactive(toy, trained):
    save_dir, _ = trained
    common = (toy.bin, "--user-dir", USER_DIR, "--task", "bas_translation", "--cpu")
    common += ("--required-batch-size-multiple", 1)  # or fairseq drops the last sentences
    checkpoint = ("--path", save_dir / "checkpoint_last.pt", "--beam", 2, "--max-len-b", 5)
    generated = run_cli("fairseq_cli.generate", *common, *checkpoint, "--max-tokens", 200)
    sources = (toy.text / "test.en").read_text().splitlines()
    assert len(re.findall(r"^D-\d+\t", generated.stdout, re.MULTILINE)) == len(sources)
    spoken = run_cli(
        "fairseq_cli.interactive",
        *(*common, *checkpoint, "-s", "en", "-t", "de"),
        stdin="one two\nthree\n",
    )
    assert sorted(re.findall(r"^(D-\d+)\t", spoken.stdout, re.MULTILINE)) == ["D-0", "D-1"]


def test_lstm_trains_with_copies(toy, tmp_path):
    result = train(toy, tmp_path, "--bas-replicas", 3, flags=tiny_lstm)
    assert {float(x["bas_replicas"]) for x in json_log(result, "train_inner")} == {3}


def test_installed_plugin_trains_from_any_directory(toy, tmp_path):
    """``--user-dir fairseq_bas`` finds the copy that pip put beside fairseq."""
    site = tmp_path / "site"
    (site / "fairseq").mkdir(parents=True)
    for item in Path(importlib.util.find_spec("fairseq").origin).parent.iterdir():
        (site / "fairseq" / item.name).symlink_to(item)
    shutil.copytree(USER_DIR, site / "fairseq_bas")
    result = run_cli(
        "fairseq_cli.train",
        *tiny_transformer(toy, tmp_path / "ck", task="bas_translation"),
        *("--user-dir", "fairseq_bas", "--max-update", 2, "--bas-replicas", 2),
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
    )
    assert len(json_log(result, "train_inner")) == 2


def test_every_flag_is_ours_and_documented(toy, tmp_path):
    """Fairseq silently drops a flag that exists already: each of ours shows our own help."""
    parser = options.get_training_parser()
    flags = tiny_transformer(toy, tmp_path, task="bas_translation")
    flags += ["--criterion", "bas_cross_entropy"]
    options.parse_args_and_arch(parser, [str(flag) for flag in flags])
    help_of = {name: action.help for action in parser._actions for name in action.option_strings}
    ours = (ReplicaConfig, NoiseConfig, RecipeConfig, BasCrossEntropyConfig)
    for field in (field for config in ours for field in config.__dataclass_fields__.values()):
        if field.name.startswith("bas_"):
            assert help_of[f"--{field.name.replace('_', '-')}"] == field.metadata["help"]
