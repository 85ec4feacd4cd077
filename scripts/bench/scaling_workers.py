"""Processes that train a small Transformer with the real task and trainer, for measuring.

The machine is what the processes run on: the CPU, a thread each, or a CUDA device each.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import distributed

ROOT = Path(__file__).resolve().parents[2]
Work = Callable[[int, int, argparse.Namespace], Any]


class Side:
    """Hold a trainer and its endless stream of updates.

    Args:
        args: the command line's values: ``data``, ``tokens``, ``width``, ``layers``, ``cpu``.
        flags: further flags of ``fairseq-train``.
    """

    def __init__(self, args: argparse.Namespace, *flags: str):
        from fairseq import checkpoint_utils, options, tasks, utils
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf
        from fairseq.trainer import Trainer

        parser = options.get_training_parser()
        given = options.parse_args_and_arch(parser, [*_model_flags(args), *flags])
        cfg = convert_namespace_to_omegaconf(given)
        utils.set_torch_seed(1)
        self.task = tasks.setup_task(cfg.task)
        model = self.task.build_model(cfg.model)
        self.trainer = Trainer(cfg, self.task, model, self.task.build_criterion(cfg.criterion))
        _, self.epochs = checkpoint_utils.load_checkpoint(cfg.checkpoint, self.trainer)
        self.updates = self._updates()

    def _updates(self) -> Iterator[list[Any]]:
        from fairseq.data import iterators

        while True:
            self.trainer.begin_epoch(self.epochs.next_epoch_idx)
            yield from iterators.GroupedIterator(self.epochs.next_epoch_itr(), 1)

    def run(self, updates: int) -> float:
        """Train and return the seconds an update took, the device's work included."""
        start = now()
        for _ in range(updates):
            self.trainer.train_step(next(self.updates))
        return (now() - start) / updates

    def shapes(self) -> tuple[list[int], list[int]]:
        """Return the padded positions, source and target, and target tokens of all batches."""
        dataset = self.task.dataset("train")
        positions, tokens = [], []
        for batch in self.epochs.frozen_batches:
            source, target = dataset.src_sizes[batch], dataset.tgt_sizes[batch]
            positions.append(int(len(batch) * (source.max() + target.max())))
            tokens.append(int(target.sum()))
        return positions, tokens


def _model_flags(args: argparse.Namespace) -> list[str]:
    flags = [str(args.data), "--user-dir", str(ROOT / "fairseq_bas"), "--task", "bas_translation"]
    flags += ["--arch", "transformer_iwslt_de_en", "--share-all-embeddings", "--dropout", "0.3"]
    for side in ("encoder", "decoder"):
        flags += [f"--{side}-layers={args.layers}", f"--{side}-embed-dim={args.width}"]
        flags += [f"--{side}-ffn-embed-dim={2 * args.width}", f"--{side}-attention-heads=4"]
    flags += ["--criterion", "bas_cross_entropy", "--label-smoothing", "0.1"]
    flags += ["--optimizer", "adam", "--lr", "0.0005", "--max-tokens", str(args.tokens)]
    flags += ["--num-workers", "0", "--data-buffer-size", "0", "--save-dir", "/nonexistent"]
    return flags + (["--cpu"] if args.cpu else [])


def now() -> float:
    """Return the time in seconds, once the device has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def worker_flags(rank: int, world: int) -> list[str]:
    """Return the flags by which fairseq knows its place among the processes."""
    if world == 1:
        return ["--distributed-world-size", "1"]
    flags = ["--distributed-world-size", str(world), "--distributed-rank", str(rank)]
    return [*flags, "--device-id", str(rank), "--ddp-backend", "legacy_ddp"]


def run_workers(world: int, work: Work, args: argparse.Namespace) -> Any:
    """Run ``work(rank, world, args)`` in as many processes; return what the first one returns.

    Args:
        world: processes, which can talk over gloo, or nccl where each has a CUDA device.
        work: a function at the top of a module.
        args: the command line's values.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_be_worker, (world, work, args, folder), nprocs=world)
        return json.loads(Path(folder, "result.json").read_text(encoding="utf-8"))


def _be_worker(rank: int, world: int, work: Work, args: argparse.Namespace, folder: str) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # fairseq calls what torch and hydra have given up
    if not args.cpu:
        torch.cuda.set_device(rank)
    backend = "gloo" if args.cpu else "nccl"
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=world)
    result = work(rank, world, args)
    if rank == 0:
        Path(folder, "result.json").write_text(json.dumps(result), encoding="utf-8")
    distributed.barrier()
    distributed.destroy_process_group()


def make_text(folder: Path) -> Path:
    """Make a toy corpus for who has no data at hand; return what ``fairseq-preprocess`` wrote."""
    text, data = folder / "text", folder / "bin"
    toy = [sys.executable, str(ROOT / "data" / "make_toy.py"), "--out", str(text)]
    _run([*toy, "--train", "8000", "--valid", "20", "--test", "20"])
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--joined-dictionary"]
    for split in ("train", "valid"):
        command += [f"--{split}pref", str(text / split)]
    _run([*command, "-s", "src", "-t", "tgt", "--destdir", str(data)])
    return data


def _run(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{command[1]} failed; its last words: {done.stderr.strip()[-300:]}")
