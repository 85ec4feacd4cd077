"""Law 3: a run killed in the middle of an epoch ends bit-equal to one that was left alone."""

import contextlib
import subprocess

import pytest
import torch

from tests.helpers import json_log, run_cli, run_workers, start_workers, tiny_transformer

UPDATES = 40
LAYER_DROP = ("--encoder-layers", 2, "--encoder-layerdrop", 0.3, "--bas-forward-masks", "update")
COMMON = (
    *("--dropout", 0.3, "--bas-replicas", "1@0,3@12u", "--batch-size", 4),
    *("--save-interval-updates", 7, "--save-interval", 1000, "--no-epoch-checkpoints"),
    "--disable-validation",
)
ALL_NOISE = (
    *("--criterion", "bas_cross_entropy", "--num-workers", 2),
    "--bas-source-noise",
    "drop=0.1,mask=0.1,replace=0.1,cutoff=0.1,shuffle=2,switchout=1,bigram=0.1,"
    "feature-cutoff=0.1,span-cutoff=0.1,jitter=0.1,mix=0.2,subword=0.2",
    "--bas-target-noise",
    "mask=0.1,replace=0.1,cutoff=0.1,switchout=1,bigram=0.1,bigram-labels=0.1,"
    "feature-cutoff=0.1,span-cutoff=0.1,jitter=0.1,mix=0.2,subword=0.2",
)


def train(workers, flags):
    if workers == 1:
        return run_cli("fairseq_cli.train", *flags)
    return run_workers(workers, "fairseq_cli.train", *flags)[0]


def kill_after_update(workers, flags, update):
    """Start a run and kill all its processes with SIGKILL once ``update`` was logged."""
    processes = start_workers(workers, "fairseq_cli.train", *flags)
    try:
        for line in processes[0].stdout:
            if f'"num_updates": "{update}"' in line:
                break
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
    assert all(process.returncode == -9 for process in processes)


def tensors(state, path=""):
    """Yield every tensor of a nested state with its path."""
    if torch.is_tensor(state):
        yield path, state
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from tensors(value, f"{path}/{key}")
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            yield from tensors(value, f"{path}/{index}")


def load(save_dir):
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=False)


@pytest.mark.dist
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_run_resumes_exactly(toy_pieces, tmp_path, workers):
    noise = (*ALL_NOISE, *LAYER_DROP, "--bas-subword-model", toy_pieces.text / "spm.model")

    def flags(name, updates):
        model = tiny_transformer(toy_pieces, tmp_path / name, task="bas_translation")
        return (*model, *noise, *COMMON, "--max-update", updates)

    train(workers, flags("whole", UPDATES))
    kill_after_update(workers, flags("killed", 10 * UPDATES), update=23)
    killed = load(tmp_path / "killed")
    position = killed["extra_state"]["train_iterator"]
    assert position["epoch"] > 1 and position["iterations_in_epoch"] > 0
    assert killed["optimizer_history"][-1]["num_updates"] < UPDATES

    resumed = train(workers, flags("killed", UPDATES))
    assert len(json_log(resumed, "train_inner")) < UPDATES  # it did not start anew
    whole, killed = load(tmp_path / "whole"), load(tmp_path / "killed")
    for part in ("model", "last_optimizer_state"):
        ours, theirs = dict(tensors(whole[part])), dict(tensors(killed[part]))
        assert ours.keys() == theirs.keys() and len(ours) > 10
        assert all(torch.equal(ours[path], theirs[path]) for path in ours)
