"""Law 2 with two real workers: placements, the normaliser at an epoch's end, gradient traffic."""

from dataclasses import dataclass

import pytest
import torch
import torch.multiprocessing
from torch import nn

from fairseq_bas.task.batch_config import BatchConfig
from fairseq_bas.task.noise_config import NoiseConfig
from fairseq_bas.task.recipe import RecipeConfig
from fairseq_bas.task.replica_config import ReplicaConfig
from fairseq_bas.task.update import ReplicatedUpdate
from tests.processes import free_port, json_log, run_cli, run_workers
from tests.toys import tiny_transformer

pytestmark = pytest.mark.dist


def flags(toy, save_dir, *extra):
    return (
        *tiny_transformer(toy, save_dir, task="bas_translation"),
        *("--max-update", 12, "--no-epoch-checkpoints", "--disable-validation", *extra),
    )


def parameters(save_dir):
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=False)["model"]


def assert_same(one, other, tolerance=0.0):
    one, other = parameters(one), parameters(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=tolerance)


def test_passes_and_workers_agree_bit_for_bit_with_dropout(toy, tmp_path):
    noise = ("--dropout", 0.3, "--bas-replicas", 2)
    run_cli(
        "fairseq_cli.train", *flags(toy, tmp_path / "passes", *noise, "--bas-placement", "passes")
    )
    spread = run_workers(
        2,
        "fairseq_cli.train",
        *flags(toy, tmp_path / "workers", *noise, "--bas-placement", "workers"),
    )
    assert_same(tmp_path / "passes", tmp_path / "workers")
    update = json_log(spread[0], "train_inner")[0]
    assert float(update["bas_wpb"]) == pytest.approx(2 * float(update["wpb"]), abs=0.2)


def test_two_workers_equal_accumulation_bit_for_bit_with_dropout(toy, tmp_path):
    """Fails with fairseq's own seeding, which gives both workers the same masks."""
    noise = ("--dropout", 0.3, "--bas-replicas", 2)
    run_cli("fairseq_cli.train", *flags(toy, tmp_path / "one", *noise, "--update-freq", 2))
    run_workers(2, "fairseq_cli.train", *flags(toy, tmp_path / "two", *noise))
    assert_same(tmp_path / "one", tmp_path / "two")


def test_empty_micro_batch_at_the_end_of_an_epoch_keeps_the_normaliser(toy, tmp_path):
    """An odd number of micro-batches: worker 1's last update is a real and an empty one.

    fairseq's trainer then drops the real one's tokens from the normaliser.
    """
    common = ("--dropout", 0.3, "--bas-replicas", 2, "--batch-size", 4, "--optimizer", "sgd")
    one = run_cli("fairseq_cli.train", *flags(toy, tmp_path / "one", *common, "--update-freq", 4))
    two = run_workers(
        2, "fairseq_cli.train", *flags(toy, tmp_path / "two", *common, "--update-freq", 2)
    )[0]
    sizes = [[x["wpb"] for x in json_log(run, "train_inner")] for run in (one, two)]
    sentences = [[x["bsz"] for x in json_log(run, "train_inner")] for run in (one, two)]
    assert sizes[0] == sizes[1] and sentences[0] == sentences[1]
    assert len(set(sentences[0])) > 1  # an update at the end of an epoch is smaller
    assert_same(tmp_path / "one", tmp_path / "two", tolerance=1e-6)


class _LinearTask:
    """The least that fairseq's FairseqTask.train_step does, for a model that is one matrix."""

    def __init__(self, cfg):
        self.cfg = cfg

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        loss, sample_size, log = criterion(model, sample)
        loss.backward()
        return loss, sample_size, log


class _Passes(ReplicatedUpdate, _LinearTask):
    pass


@dataclass
class _Config(ReplicaConfig, NoiseConfig, RecipeConfig, BatchConfig):
    bas_replicas: str = "4"
    bas_placement: str = "passes"
    distributed_world_size: int = 2
    seed: int = 1


def _count_reductions(rank, port, queue):
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", world_size=2, rank=rank
    )
    counted = []

    def hook(state, bucket):
        counted.append(bucket.buffer().numel())
        mean = bucket.buffer() / 2
        torch.distributed.all_reduce(mean)
        # Done here and now: a callback on gloo's thread can outlive the process group.
        future = torch.futures.Future()
        future.set_result(mean)
        return future

    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 1, bias=False))
    model.register_comm_hook(None, hook)
    sample = {"id": torch.tensor([rank]), "nsentences": 1, "ntokens": 1, "net_input": {}}

    def criterion(model, sample):
        loss = model(torch.ones(1, 3) * (sample["replica"][0] + 1 + 10 * rank)).sum()
        return loss, sample["ntokens"], {"nsentences": 1, "ntokens": 1}

    _Passes(_Config()).train_step(sample, model, criterion, None, 0)
    queue.put((rank, len(counted), model.module.weight.grad.tolist()))
    del model
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_gradients_travel_once_after_the_last_pass():
    """Four passes, one reduction; its result is the mean over copies and workers."""
    queue = torch.multiprocessing.get_context("forkserver").SimpleQueue()
    processes = torch.multiprocessing.start_processes(
        _count_reductions, (free_port(), queue), nprocs=2, join=False, start_method="forkserver"
    )
    while not processes.join():
        pass
    for _, reductions, gradient in (queue.get(), queue.get()):
        assert reductions == 1
        # Mean over copies 1..4 is 2.5 on worker 0 and 12.5 on worker 1; DDP averages workers.
        assert gradient == [[7.5, 7.5, 7.5]]
