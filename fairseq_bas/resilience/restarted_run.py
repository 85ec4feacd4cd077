"""Begin a run again in its process, after it went back to an earlier checkpoint.

fairseq's main function is called once more with the flags of the command line; all that a run
leaves behind outside of its own objects is forgotten before.
"""

import contextlib
import copy
import functools
import gc
import logging
import queue
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils

from ..errors import UserError
from .rollback import LAST

TRAINING = ("fairseq_cli.train", "__main__")
"""Modules that the training command may be."""


class RolledBack(UserError):
    """Say that ``checkpoint_last.pt`` is now the one to go on from.

    Where nobody begins the run again, it ends the process with its message.
    """


@functools.cache
def install() -> None:
    """Let runs of fairseq begin again after a rollback. Calling it again does nothing."""
    distributed_utils.call_main = _restarting(distributed_utils.call_main)


def _restarting(call_main: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call_main)
    def restarting(cfg: Any, main: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if str(getattr(getattr(cfg, "task", None), "bas_on_divergence", "")) == "rollback":
            main = RestartedMain(main)
        return call_main(cfg, main, *args, **kwargs)

    return restarting


class RestartedMain:
    """Call the main function of a run again after each rollback.

    It is an object and not a closure, as fairseq sends it to the processes that it starts.

    Args:
        main: of ``fairseq_cli.train``.
    """

    def __init__(self, main: Callable[..., Any]):
        self.main = main

    def __call__(self, cfg: Any, **kwargs: Any) -> Any:
        """Run to the end, with a copy of ``cfg`` each time, as runs change theirs."""
        given = cfg
        while True:
            with _own_log_handlers():
                try:
                    return self.main(copy.deepcopy(cfg), **kwargs)
                except RolledBack:
                    pass  # and with it go the objects that its traceback holds
            _forget()
            cfg = copy.deepcopy(given)
            _resume_from_last(cfg.checkpoint)


def _resume_from_last(checkpoint: Any) -> None:
    """Set the flags of checkpoints so that all of ``checkpoint_last.pt`` is taken up."""
    checkpoint.restore_file = LAST
    checkpoint.finetune_from_model = None
    checkpoint.optimizer_overrides = "{}"
    for what in ("dataloader", "lr_scheduler", "meters", "optimizer"):
        setattr(checkpoint, f"reset_{what}", False)


@contextlib.contextmanager
def _own_log_handlers() -> Iterator[None]:
    """Take away, at the end, the handlers that a run has added for its ``--log-file``."""
    before = [(log, list(log.handlers)) for log in map(logging.getLogger, TRAINING)]
    try:
        yield
    finally:
        for log, handlers in before:
            log.handlers[:] = handlers


def _forget() -> None:
    """Forget what fairseq keeps of a run outside of it, and free the memory of its model."""
    holders = [getattr(sys.modules.get(name), "should_stop_early", None) for name in TRAINING]
    for holder in (checkpoint_utils.save_checkpoint, *holders):
        for attribute in ("best", "num_runs"):
            if hasattr(holder, attribute):
                delattr(holder, attribute)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def stop_loading(epoch_iterator: Any, seconds: float = 10.0) -> None:
    """End the thread and the processes that load batches nobody will read.

    Args:
        epoch_iterator: of training.
        seconds: to wait for the thread at most.
    """
    buffered: Any = getattr(getattr(epoch_iterator, "_cur_epoch_itr", None), "_itr", None)
    consumer = getattr(buffered, "_consumer", None)
    if consumer is None:
        return
    consumer._max_len = 0  # it ends with the batch that it has in hand
    limit = time.monotonic() + seconds
    while consumer.is_alive() and time.monotonic() < limit:
        try:
            buffered._queue.get(timeout=0.05)
        except queue.Empty:
            continue
