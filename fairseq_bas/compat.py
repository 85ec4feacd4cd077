"""The only place that knows versions of fairseq, torch and NumPy.

What it cures: since torch 2.6, ``torch.load`` calls only functions on an allow-list. The
published builds of fairseq rely on the old default, so neither their own checkpoints nor the
copy of a checkpoint that the first worker sends to the others can be loaded. `install` puts the
types of both on the list; the safe loader stays on. And blocks of one sentence each, which fairseq
also makes of what a language model is to continue, use a name that NumPy 2 no longer has.
"""

import collections
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, meters, trainer
from fairseq.data import token_block_dataset
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

from .allowed_types import checkpoint_types
from .checkpoint import verify_checkpoint
from .errors import UserError, refuse_with
from .resilience.agreement import (
    first_worker_decides,
    is_ours,
    largest,
    leave_group,
    raise_everywhere,
)


@functools.cache
def install() -> None:
    """Make fairseq's checkpoints loadable and refuse damaged or unsafe ones in one line.

    Runs that load no checkpoint are not touched. Calling it again does nothing.
    """
    torch.serialization.add_safe_globals([*_file_types(), *_broadcast_types()])
    for name in ("load_checkpoint_to_cpu", "load_ema_from_checkpoint"):
        setattr(checkpoint_utils, name, _verified(getattr(checkpoint_utils, name)))
    trainer.Trainer.load_checkpoint = _verified_for_all_workers(trainer.Trainer.load_checkpoint)
    distributed_utils.call_main = _without_second_report(distributed_utils.call_main)
    if not hasattr(np, "compat"):
        token_block_dataset.np = _numpy_with_compat()


def _numpy_with_compat() -> types.ModuleType:
    """Return NumPy with ``compat.long``, for the one module that asks for it."""
    module = types.ModuleType(np.__name__)
    module.__dict__.update(vars(np), compat=types.SimpleNamespace(long=np.int64))
    return module


def _file_types() -> list[Any]:
    """Return what checkpoint files hold; before 2020 meters were saved whole."""
    old_meters = [meters.AverageMeter, meters.TimeMeter, meters.StopwatchMeter]
    return [*checkpoint_types(), *old_meters]


def _broadcast_types() -> list[Any]:
    """Return what the first worker sends: the config as omegaconf objects, tensors apart."""
    config = [DictConfig, ListConfig, AnyNode, ContainerMetadata, Metadata]
    inside_config = [collections.defaultdict, typing.Any, dict, list, int]
    return [*config, *inside_config, distributed_utils._TensorPlaceholder]


def _verified(load: Callable[..., Any]) -> Callable[..., Any]:
    """Check the file, ``load``'s first argument, before it is loaded."""
    signature = inspect.signature(load)

    @functools.wraps(load)
    def verified(*args: Any, **kwargs: Any) -> Any:
        path = next(iter(signature.bind(*args, **kwargs).arguments.values()))
        _verify(path)
        try:
            state = load(*args, **kwargs)
        except Exception as error:
            # A damaged pickle may ask for anything; what it raises says nothing to its reader.
            raise _unreadable(path, f"{type(error).__name__}: {error}") from error
        if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
            raise _unreadable(path, "it holds no weights of a model")
        return state

    return verified


def _verified_for_all_workers(load_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    """End all workers if the file is refused: else the others would wait for its copy.

    The first worker, which reads the file for all, checks it for all; of a checkpoint in several
    files, every worker checks its own.
    """

    @functools.wraps(load_checkpoint)
    def verified(self: Any, filename: str, *args: Any, **kwargs: Any) -> Any:
        try:
            if self.is_fsdp and self.cfg.distributed_training.use_sharded_state:
                raise_everywhere(self, _problem_of_part(self, filename))
            elif PathManager.isfile(filename):
                path = PathManager.get_local_path(filename)
                first_worker_decides(self, lambda: verify_checkpoint(path))
        except UserError:
            if not is_ours(self):  # ours agree first on which of them tells the user
                leave_group()
            raise
        return load_checkpoint(self, filename, *args, **kwargs)

    return verified


def _problem_of_part(trainer: Any, filename: str) -> str | None:
    """Return what is wrong with this worker's part of a checkpoint in several files.

    Without its part, a worker would train from the start, beside the others.
    """
    is_there = PathManager.isfile(filename)
    if is_ours(trainer) and largest(trainer, int(is_there)) and not is_there:
        return f"{filename} is missing, while other parts of the checkpoint are there; restore it"
    try:
        if is_there:
            verify_checkpoint(PathManager.get_local_path(filename))
    except ValueError as error:
        return str(error)
    return None


def _unreadable(path: str, reason: str) -> UserError:
    reason = " ".join(reason.split())[:300]
    return UserError(
        f"{path} cannot be read as a checkpoint of fairseq ({reason}), so it is damaged or another "
        "program's; pass another checkpoint"
    )


def _verify(path: str) -> None:
    with refuse_with():
        verify_checkpoint(PathManager.get_local_path(path))


def _without_second_report(call_main: Callable[..., Any]) -> Callable[..., Any]:
    """End quietly when a spawned worker has already told the user why it stopped.

    A worker that fails by an error hands its traceback to the parent; one that exits with code 1
    has printed its message, and the parent's own traceback would only bury it.
    """

    @functools.wraps(call_main)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        try:
            return call_main(*args, **kwargs)
        except torch.multiprocessing.ProcessExitedException as error:
            if error.exit_code != 1:
                raise
            raise SystemExit(1) from None

    return quiet
