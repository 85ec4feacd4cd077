"""Laws 2 and 3 for noise, in real processes: loader workers, placement, two training workers."""

import pytest
import torch

from tests.dist.test_resume import ALL_NOISE
from tests.processes import json_log, run_cli, run_workers
from tests.toys import tiny_transformer

pytestmark = pytest.mark.dist


def flags(toy_pieces, save_dir, *extra):
    return (
        *tiny_transformer(toy_pieces, save_dir, task="bas_translation"),
        *("--dropout", 0.2, *ALL_NOISE, "--bas-subword-model", toy_pieces.text / "spm.model"),
        *("--batch-size", 8, "--max-update", 20, "--no-epoch-checkpoints"),
        *("--disable-validation", *extra),
    )


def parameters(save_dir):
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=False)["model"]


def assert_same(one, other):
    one, other = parameters(one), parameters(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_loader_workers_do_not_matter(toy_pieces, tmp_path):
    """0, 1 and 3 processes, over more than two epochs."""
    for loaders in (0, 1, 3):
        copies = ("--bas-replicas", 3, "--num-workers", loaders)
        run = run_cli("fairseq_cli.train", *flags(toy_pieces, tmp_path / str(loaders), *copies))
    assert float(json_log(run, "train_inner")[-1]["epoch"]) >= 3
    assert_same(tmp_path / "0", tmp_path / "1")
    assert_same(tmp_path / "0", tmp_path / "3")


def test_placement_does_not_matter(toy_pieces, tmp_path):
    """Copies in passes of one worker, and on two workers."""
    copies = ("--bas-replicas", 2, "--bas-placement")
    run_cli("fairseq_cli.train", *flags(toy_pieces, tmp_path / "passes", *copies, "passes"))
    run_workers(
        2, "fairseq_cli.train", *flags(toy_pieces, tmp_path / "workers", *copies, "workers")
    )
    assert_same(tmp_path / "passes", tmp_path / "workers")


def test_two_workers_equal_accumulation(toy_pieces, tmp_path):
    copies = ("--bas-replicas", 2)
    run_cli(
        "fairseq_cli.train", *flags(toy_pieces, tmp_path / "one", *copies, "--update-freq", 2)
    )
    run_workers(2, "fairseq_cli.train", *flags(toy_pieces, tmp_path / "two", *copies))
    assert_same(tmp_path / "one", tmp_path / "two")
