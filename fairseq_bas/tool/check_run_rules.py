"""Flags of fairseq-train that contradict each other, the machine, or what is registered."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from .check_findings import Finding, problem, warning

_LAUNCHERS = ("WORLD_SIZE", "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
"""Variables that torchrun and Slurm set for the workers they start."""


def rules_about_flags(cfg: Any, flags: Sequence[str]) -> Iterator[Finding]:
    """Judge flags without building anything.

    Args:
        cfg: fairseq's config.
        flags: as they were given.
    """
    yield from repeated_flags(flags)
    yield from _user_dir(cfg, flags)
    yield from _metric(cfg)
    yield from _useless(cfg)
    yield from worker_findings(cfg, torch.cuda.device_count(), os.environ)
    yield from _loaders(cfg, os.cpu_count() or 1)


def repeated_flags(flags: Sequence[str]) -> Iterator[Finding]:
    """Find flags that are given twice with different values: only the last one counts.

    Args:
        flags: of a command line.

    >>> [found.sentence for found in repeated_flags(["--lr", "1", "--lr", "2"])]
    ['--lr is given as 1 and as 2, and only the last counts; leave one out']
    """
    given: dict[str, list[str]] = {}
    for place, word in enumerate(flags):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            following = flags[place + 1 : place + 2]
            if not equals and following and not following[0].startswith("--"):
                value = following[0]
            given.setdefault(name, []).append(value)
    for name, values in given.items():
        if len(set(values)) > 1:
            listed = " and ".join(f"as {value}" for value in values)
            yield warning(f"{name} is given {listed}, and only the last counts; leave one out")


def _user_dir(cfg: Any, flags: Sequence[str]) -> Iterator[Finding]:
    """Names of this plugin are known to fairseq-train by --user-dir only."""
    if any(flag.partition("=")[0] == "--user-dir" for flag in flags):
        return
    parts = ("task", "model", "criterion", "optimizer", "lr_scheduler")
    names = [str(getattr(getattr(cfg, part, None), "_name", "")) for part in parts]
    ours = [name for name in names if name.startswith("bas_")]
    if ours:
        yield problem(
            f"fairseq-train does not know {', '.join(ours)} without this plugin; add --user-dir "
            "fairseq_bas"
        )


def _metric(cfg: Any) -> Iterator[Finding]:
    wants_bleu = cfg.checkpoint.best_checkpoint_metric == "bleu"
    if wants_bleu and not getattr(cfg.task, "eval_bleu", False):
        yield problem(
            "--best-checkpoint-metric bleu needs BLEU at validation, and without it the run stops "
            "at its first checkpoint; pass --eval-bleu too"
        )
    if wants_bleu and not cfg.checkpoint.maximize_best_checkpoint_metric:
        yield warning(
            "--best-checkpoint-metric bleu without --maximize-best-checkpoint-metric keeps the "
            "worst checkpoint as the best; pass both"
        )


def _useless(cfg: Any) -> Iterator[Finding]:
    checkpoint, dataset = cfg.checkpoint, cfg.dataset
    if checkpoint.patience > 0 and dataset.disable_validation:
        yield warning(
            f"--patience {checkpoint.patience} never stops a run with --disable-validation; leave "
            "one of them out"
        )
    if checkpoint.no_epoch_checkpoints and checkpoint.keep_last_epochs > 0:
        yield warning(
            f"--keep-last-epochs {checkpoint.keep_last_epochs} has no effect with "
            "--no-epoch-checkpoints; leave one of them out"
        )
    if checkpoint.keep_interval_updates > 0 and not checkpoint.save_interval_updates:
        yield warning(
            f"--keep-interval-updates {checkpoint.keep_interval_updates} has no effect without "
            "--save-interval-updates; pass it too"
        )
    if checkpoint.no_last_checkpoints and not checkpoint.no_save:
        yield warning(
            "--no-last-checkpoints leaves nothing from which the same command would go on after an "
            "interruption; leave it out"
        )


def worker_findings(cfg: Any, devices: int, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Compare the workers asked for with the devices.

    Args:
        cfg: fairseq's config.
        devices: CUDA devices of this machine.
        environment: variables of the process.
    """
    distributed = cfg.distributed_training
    workers = int(distributed.distributed_world_size)
    is_launched = any(name in environment for name in _LAUNCHERS)
    if workers <= 1 or is_launched or distributed.distributed_init_method is not None:
        return
    if cfg.common.cpu or devices == 0:
        yield warning(
            f"--distributed-world-size {workers} without a launcher starts a worker for each CUDA "
            f"device, and there is none {'with --cpu' if cfg.common.cpu else 'here'}; start the "
            "workers by scripts/launch.sh or torchrun"
        )
    elif workers > devices and distributed.distributed_port <= 0:
        yield problem(
            f"--distributed-world-size {workers} is more than the {devices} CUDA devices here; "
            f"pass --distributed-world-size {devices}, or start the workers of several machines by "
            "scripts/launch.sh or torchrun"
        )


def _loaders(cfg: Any, cores: int) -> Iterator[Finding]:
    workers = max(1, int(cfg.distributed_training.distributed_world_size))
    loaders = int(cfg.dataset.num_workers) * min(workers, max(1, torch.cuda.device_count()))
    if loaders > 2 * cores:
        yield warning(
            f"--num-workers {cfg.dataset.num_workers} starts {loaders} data-loader processes on "
            f"{cores} cores; lower it"
        )
