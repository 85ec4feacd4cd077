"""End a run that got SIGTERM or SIGUSR1 after one checkpoint, on all workers at the same update.

The moment is the end of an update, after the validation and the save that belong to it, if any: a
validation left out would be missing in the run that goes on. If that save wrote
``checkpoint_last.pt``, it is the checkpoint of the interruption; else one is written that does not
count as a validation. All workers end with exit code 75, also those that got no signal.
"""

import copy
import functools
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.trainer import Trainer

from .agreement import is_our_config, is_ours, largest, leave_group
from .patience import training_modules
from .save import complete_saves
from .signals import STOP_SIGNALS, SignalWatch
from .worker_timeout import limited

logger = logging.getLogger(__name__)

EXIT_INTERRUPTED = 75
"""EX_TEMPFAIL of sysexits.h: start the same command again, and the run goes on."""

_watch = SignalWatch()


@functools.cache
def install() -> None:
    """Let the process that starts the workers pass signals on. Calling it again does nothing."""
    distributed_utils.call_main = _passing_signals_on(distributed_utils.call_main)


def watch_run(trainer: Trainer) -> None:
    """Watch for signals from now to the end of the run, unless ``--no-save`` forbids to save.

    Args:
        trainer: of a run of ours, its checkpoint loaded.
    """
    modules = list(training_modules())
    for module in modules:
        if not hasattr(module.validate_and_save, "bas_interruptible"):
            setattr(module, "validate_and_save", _interruptible(module.validate_and_save))  # noqa: B010
    if modules and not trainer.cfg.checkpoint.no_save and _in_main_thread():
        _watch.start()


def _in_main_thread() -> bool:
    """Tell whether Python allows to set handlers here."""
    return threading.current_thread() is threading.main_thread()


def _interruptible(validate_and_save: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(validate_and_save)
    def interruptible(
        cfg: Any, trainer: Trainer, task: Any, epoch_itr: Any, subsets: list[str], is_end: bool
    ) -> Any:
        before = complete_saves()
        losses, should_stop = validate_and_save(cfg, trainer, task, epoch_itr, subsets, is_end)
        if not is_ours(trainer) or cfg.checkpoint.no_save:
            return losses, should_stop
        last_epoch = cfg.optimization.max_epoch or float("inf")
        if should_stop or (is_end and epoch_itr.next_epoch_idx > last_epoch):
            _watch.stop()
            return losses, should_stop
        received = limited(largest)(trainer, _watch.received)
        if received:
            if complete_saves() == before:
                trainer.bas_unsaved_loss = losses[0]
                _save_last(cfg.checkpoint, trainer, epoch_itr)
            _end(trainer, received)
        return losses, should_stop

    interruptible.bas_interruptible = True  # type: ignore[attr-defined]
    return interruptible


def _save_last(cfg: Any, trainer: Trainer, epoch_itr: Any) -> None:
    """Write ``checkpoint_last.pt`` and nothing else, whatever is saved otherwise."""
    cfg = copy.deepcopy(cfg)
    cfg.no_epoch_checkpoints, cfg.save_interval_updates = True, 0
    cfg.no_last_checkpoints = False
    checkpoint_utils.save_checkpoint(cfg, trainer, epoch_itr, None)


def _end(trainer: Trainer, received: int) -> None:
    """End the process; every worker comes here.

    Launchers terminate the others as soon as one has ended; that must not change how these end.
    """
    _watch.stop(ignore=trainer.data_parallel_world_size > 1)
    logger.info(
        f"interrupted by {signal.Signals(received).name}: saved after update "
        f"{trainer.get_num_updates()}; start the same command again to go on (exit code "
        f"{EXIT_INTERRUPTED})"
    )
    leave_group()
    raise SystemExit(EXIT_INTERRUPTED)


def _passing_signals_on(call_main: Callable[..., Any]) -> Callable[..., Any]:
    """Let signals reach workers that ``call_main`` spawns."""

    @functools.wraps(call_main)
    def passing(cfg: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_our_config(cfg) or not _in_main_thread():
            return call_main(cfg, *args, **kwargs)
        spawn = torch.multiprocessing.spawn
        torch.multiprocessing.spawn = functools.partial(_spawn, spawn)
        try:
            return call_main(cfg, *args, **kwargs)
        finally:
            torch.multiprocessing.spawn = spawn
            _watch.stop()

    return passing


def _spawn(spawn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``spawn``, which waits for the workers; end with their exit code once they have ended.

    Only a process that waits so gets these handlers. In one that may wait within C, as workers do
    for each other at the start, Python would not run them.
    """
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # Processes that load data are daemons.
        workers = [child for child in multiprocessing.active_children() if not child.daemon]
        if not workers:
            _die_of(number)
        for worker in workers:
            if worker.pid is not None:
                os.kill(worker.pid, number)

    previous = {number: signal.signal(number, pass_on) for number in STOP_SIGNALS}
    context = spawn(*args, **{**kwargs, "join": False})
    try:
        while not context.join():
            pass
    except torch.multiprocessing.ProcessExitedException as error:
        # One that exits with 1 has said why; others, their connection gone, may abort within C.
        refused = any(process.exitcode == 1 for process in context.processes)
        if refused and error.exit_code in (1, -signal.SIGABRT):
            raise SystemExit(1) from None
        if error.exit_code == EXIT_INTERRUPTED:
            raise SystemExit(EXIT_INTERRUPTED) from None
        if received and error.exit_code in (-received[0], 128 + received[-1]):
            _die_of(received[-1])
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _die_of(number: int) -> None:
    """End this process as the signal would without a handler."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
