"""One side of a comparison of training runs: a trainer, and the micro-batches it reads in order.

Both sides of a comparison run in one process, in turns; see ``paired_batches`` for how they read
the same sentences.
"""

import argparse
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.data import iterators
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]


class Side:
    """A trainer with its endless stream of updates.

    Args:
        cfg: fairseq's, of a training run.

    Attributes:
        trainer: fairseq's.
        epochs: the iterator over epochs.
        seconds: of rounds, for who wants to keep them here.
        peak: bytes of GPU memory that ``run`` has seen at most.
        bytes: of all tensors that the trainer was given: what it moves to a GPU.
        samples: of the last update, as the trainer was given them.
    """

    def __init__(self, cfg: Any):
        task = tasks.setup_task(cfg.task)
        model = task.build_model(cfg.model)
        self.trainer = Trainer(cfg, task, model, task.build_criterion(cfg.criterion))
        self.trainer.cuda_env = None  # or it would reset the peak of memory in every update
        _, self.epochs = checkpoint_utils.load_checkpoint(cfg.checkpoint, self.trainer)
        self.updates, self.seconds, self.peak = self._updates(shuffle=True), [], 0
        self.bytes, self.samples = 0, []

    def read(self, batches: Sequence[Sequence[int]], group: int = 1) -> None:
        """Make an update of every ``group`` of these micro-batches from now on, in their order."""
        self.epochs._frozen_batches = tuple(batches)
        self.updates = self._updates(shuffle=False, group=group)

    def _updates(self, shuffle: bool, group: int = 1) -> Iterator[list[Any]]:
        while True:
            self.trainer.begin_epoch(self.epochs.next_epoch_idx)
            epoch = self.epochs.next_epoch_itr(shuffle=shuffle)
            yield from iterators.GroupedIterator(epoch, group)

    def run(self, updates: int, clock: Callable[[], float] = time.perf_counter) -> float:
        """Train and return the seconds that took, the device's work included.

        Args:
            updates: to make.
            clock: ``time.process_time`` on a CPU that others use too.
        """
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        given = []
        start = clock()
        for _ in range(updates):
            given.append(next(self.updates))
            self.trainer.train_step(given[-1])
        if on_gpu:
            torch.cuda.synchronize()
            self.peak = max(self.peak, torch.cuda.max_memory_allocated())
        seconds = clock() - start
        self.bytes += tensor_bytes(given)
        self.samples = given[-1]
        return seconds

    def load(
        self, batches: Sequence[Sequence[int]], clock: Callable[[], float] = time.perf_counter
    ) -> float:
        """Read and collate micro-batches, nothing else, and return the seconds that took."""
        dataset = self.epochs.dataset
        start = clock()
        for batch in batches:
            self.epochs.collate_fn([dataset[i] for i in batch])
        return clock() - start


def build(arguments: argparse.Namespace, task: str, tokens: int, *extra: str) -> Side:
    """Build a trainer from ``fairseq-train`` flags.

    Args:
        arguments: ``data``, ``arch``, ``criterion`` and ``precision`` (fp32, fp16 or bf16).
        task: name of the task.
        tokens: ``--max-tokens``.
        *extra: flags; they win over those given here.
    """
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    flags = [
        *(arguments.data, "--user-dir", str(ROOT / "fairseq_bas"), "--task", task),
        *("--arch", arguments.arch, "--share-all-embeddings", "--dropout", "0.3"),
        *("--criterion", arguments.criterion, "--label-smoothing", "0.1"),
        *("--optimizer", "adam", "--lr", "0.0005", "--max-tokens", str(tokens)),
        *("--save-dir", "/nonexistent", *extra),
    ]
    flags += [] if torch.cuda.is_available() else ["--cpu"]
    flags += ["--fp16"] if arguments.precision == "fp16" else []
    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, flags))
    cfg.common.bf16 = arguments.precision == "bf16"  # the flag --bf16 selects fairseq's TPU path
    utils.set_torch_seed(1)
    return Side(cfg)


def sizes(layers: int, width: int) -> list[str]:
    """Return the flags of a Transformer of ``layers`` and ``layers``; heads of 32 or 64."""
    heads = max(4, width // 64)
    return [
        flag
        for side in ("encoder", "decoder")
        for flag in (
            *(f"--{side}-layers={layers}", f"--{side}-embed-dim={width}"),
            *(f"--{side}-ffn-embed-dim={4 * width}", f"--{side}-attention-heads={heads}"),
        )
    ]


def paired_batches(
    batches: Sequence[Sequence[int]], replicas: int, updates: int
) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    """Return micro-batches of equal rows for plain fairseq and for M copies.

    Plain fairseq reads micro-batches of all lengths, the longest as often as the shortest. Where it
    reads M * B sentences, in order of length, M copies are made of B of them that follow each
    other: the first B, then of the next micro-batch the second, and so on. So over M updates
    neither side has longer sentences than the other.

    Args:
        batches: of plain fairseq, in order of length.
        replicas: M.
        updates: micro-batches wanted.

    Returns:
        Micro-batches of plain fairseq, and of what is copied M times.

    Raises:
        ValueError: if no micro-batch can be cut into M parts.

    >>> paired_batches([[0, 1], [2, 3], [4, 5]], 2, 2)
    ([[0, 1], [4, 5]], [[0], [5]])
    """
    whole = [batch for batch in batches if len(batch) and len(batch) % replicas == 0]
    if not whole:
        raise ValueError(
            f"no micro-batch of {replicas} times --tokens has a multiple of {replicas} sentences; "
            "give a larger --tokens"
        )
    places = [round(i * (len(whole) - 1) / max(1, updates - 1)) for i in range(updates)]
    plain = [whole[place] for place in places]
    copied = []
    for number, batch in enumerate(plain):
        size = len(batch) // replicas
        part = number % replicas
        copied.append(batch[part * size : (part + 1) * size])
    return plain, copied


def tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors in a nested value; one that occurs twice counts twice.

    >>> tensor_bytes({"id": torch.zeros(3, dtype=torch.int64), "more": [torch.zeros(2)], "n": 1})
    32
    """
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(tensor_bytes, value.values()))
    return sum(map(tensor_bytes, value)) if isinstance(value, list | tuple) else 0


def target_tokens(batches: Sequence[Sequence[int]], side: Side) -> int:
    """Return the target tokens in micro-batches, padding not counted."""
    dataset = side.epochs.dataset
    lengths = getattr(dataset, "tgt_sizes", dataset.sizes)
    return int(sum(lengths[list(batch)].sum() for batch in batches))
