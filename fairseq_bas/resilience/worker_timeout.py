"""Notice in seconds that another machine has gone, without hurrying a slow disk.

A machine that is cut off closes no connection, so the others find out by waiting, and torch's own
limit is half an hour because some waits are long for good reason: the first worker writes a
checkpoint, or reads one, and the others have nothing to do. Here the limit of
``--bas-worker-timeout`` holds within updates and validation steps, in which workers keep pace.
Before the first of them after uneven work, they meet under torch's own limit. While the first one
writes, it meets the others now and then, each time within the limit.
"""

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.trainer import Trainer
from torch.distributed import distributed_c10d

from .heartbeat import kept_company

_UNEVEN = "bas_uneven_work"


@functools.cache
def install() -> None:
    """Put the limit into fairseq's trainer. Calling it again does nothing."""
    Trainer.train_step = limited(Trainer.train_step)
    Trainer.valid_step = limited(Trainer.valid_step)
    for name in ("begin_epoch", "begin_valid_epoch"):
        setattr(Trainer, name, _uneven(getattr(Trainer, name)))
    checkpoint_utils.save_checkpoint = _uneven_save(checkpoint_utils.save_checkpoint)


def _limit(trainer: Trainer) -> float:
    """Return the limit in seconds, or 0 where nothing is to be limited."""
    is_alone = not torch.distributed.is_initialized()
    return 0.0 if is_alone else float(getattr(trainer.cfg.task, "bas_worker_timeout", 0.0))


def limited(step: Callable[..., Any]) -> Callable[..., Any]:
    """Let the limit hold within ``step``, in which workers keep pace.

    Args:
        step: its first argument is the trainer; all workers must call it.

    Returns:
        A function like ``step``.
    """

    @functools.wraps(step)
    def within_limit(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        seconds = _limit(self)
        if not seconds:
            return step(self, *args, **kwargs)
        if getattr(self, _UNEVEN, True):
            torch.distributed.barrier(distributed_utils.get_global_group())
            setattr(self, _UNEVEN, False)
        groups = list(distributed_c10d._world.pg_map)
        before = {group: _timeout(group) for group in groups}
        for group in groups:
            distributed_c10d._set_pg_timeout(timedelta(seconds=seconds), group)
        result = step(self, *args, **kwargs)
        for group, timeout in before.items():
            distributed_c10d._set_pg_timeout(timeout, group)
        return result

    return within_limit


def _timeout(group: Any) -> timedelta:
    """Return the limit that a group was made with."""
    backend = torch.distributed.get_backend(group)
    return distributed_c10d._get_default_timeout(backend)


def _uneven(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def uneven(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        setattr(self, _UNEVEN, True)
        return method(self, *args, **kwargs)

    return uneven


def _uneven_save(save_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(save_checkpoint)
    def uneven(cfg: Any, trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        setattr(trainer, _UNEVEN, True)
        return save_checkpoint(cfg, trainer, *args, **kwargs)

    return uneven


@functools.cache
def install_in_save() -> None:
    """Let workers wait for a checkpoint as long as its writer lives. A second call does nothing.

    Call it before all that prepares a save on all workers.
    """
    checkpoint_utils.save_checkpoint = _in_company(checkpoint_utils.save_checkpoint)


def _in_company(save_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(save_checkpoint)
    def in_company(cfg: Any, trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        seconds = _limit(trainer)
        if not seconds or cfg.no_save or not _one_writes(trainer):
            return save_checkpoint(cfg, trainer, *args, **kwargs)
        torch.distributed.barrier(distributed_utils.get_global_group())
        with kept_company(_company(), seconds):
            saved = save_checkpoint(cfg, trainer, *args, **kwargs)
        setattr(trainer, _UNEVEN, False)
        return saved

    return in_company


def _one_writes(trainer: Trainer) -> bool:
    """Tell whether the first worker writes and the others do nothing in a save."""
    workers = trainer.cfg.distributed_training
    return (
        trainer.data_parallel_world_size == torch.distributed.get_world_size()
        and not trainer.is_fsdp
        and str(workers.zero_sharding) == "none"
        and not getattr(trainer.cfg.model, "base_layers", 0)
    )


@functools.cache
def _company() -> Any:
    """Return a group of all workers for their meetings; they make it together."""
    return torch.distributed.new_group(backend="gloo")
