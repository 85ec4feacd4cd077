"""Noise on the command line: what a run says, logs and leaves behind."""

import pytest

from fairseq_bas.task.recipe import RECIPES
from tests.dist.test_resume import ALL_NOISE
from tests.processes import USER_DIR, json_log, run_cli
from tests.toys import tiny_lstm, tiny_transformer

OURS = ("--criterion", "bas_cross_entropy")


def train(toy, save_dir, *extra, flags=tiny_transformer):
    return run_cli(
        "fairseq_cli.train",
        *flags(toy, save_dir, task="bas_translation"),
        *("--max-update", 6, "--no-epoch-checkpoints", *extra),
    )


@pytest.fixture(scope="module")
def trained(toy_pieces, tmp_path_factory):
    save_dir = tmp_path_factory.mktemp("noisy")
    noise = (*ALL_NOISE, "--bas-subword-model", toy_pieces.text / "spm.model")
    return save_dir, train(toy_pieces, save_dir, *noise, "--bas-replicas", 4)


def test_says_once_what_makes_copies_differ(trained):
    _, result = trained
    block = result.stdout + result.stderr
    assert block.count("source noise   drop=0.1,mask=0.1") == 1
    assert "subword=0.2; sentences 1." in block
    assert "over copies    alike and independent" in block


def test_logs_distinct_copies_in_training_only(trained):
    _, result = trained
    distinct = [float(line["bas_distinct"]) for line in json_log(result, "train_inner")]
    assert len(distinct) == 6 and all(3 < value <= 4 for value in distinct)
    assert not any("bas_distinct" in line for line in json_log(result, "valid"))


def test_generation_needs_no_flag_of_noise(toy_pieces, trained):
    save_dir, _ = trained
    result = run_cli(
        "fairseq_cli.generate",
        *(toy_pieces.bin, "--user-dir", USER_DIR, "--task", "bas_translation", "--cpu"),
        *("--path", save_dir / "checkpoint_last.pt", "--beam", 1, "--max-len-b", 5),
        *("--required-batch-size-multiple", 1),
    )
    assert result.stdout.count("\nD-") + result.stdout.startswith("D-") == 12


def test_lstm_trains_with_noise_and_consistency(toy_pieces, tmp_path):
    flags = (
        "--bas-source-noise",
        "drop=0.3,shuffle=3,jitter=0.1",
        "--bas-target-noise",
        "mask=0.1",
    )
    copies = ("--bas-replicas", 4, "--bas-replicas-per-pass", 2, "--bas-consistency", "rdrop")
    result = train(toy_pieces, tmp_path, *OURS, *flags, *copies, flags=tiny_lstm)
    assert ["bas_consistency" in line for line in json_log(result, "train_inner")] == [True] * 6


def test_recipe_is_said_and_can_be_overridden(toy_pieces, tmp_path):
    recipe = "low-resource"
    result = train(toy_pieces, tmp_path, *OURS, "--bas-recipe", recipe, "--bas-replicas", 3)
    said = result.stdout + result.stderr
    for flag, value in RECIPES[recipe].items():
        line = f"--bas-recipe {recipe} sets --{flag.replace('_', '-')} {value}"
        assert (line in said) == (flag != "bas_replicas")
    assert float(json_log(result, "train_inner")[0]["bas_replicas"]) == 3
