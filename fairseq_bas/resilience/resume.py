"""Go on from the newest good checkpoint, with all that fairseq forgets at a restart."""

import copy
import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer

from .agreement import first_worker_decides, is_ours
from .fallback import find_fallback
from .finished_run import end_if_finished
from .interruption import watch_run
from .patience import patience_state, set_patience_state
from .whole_file import remove_stale

logger = logging.getLogger(__name__)

DEFAULT_FILE = "checkpoint_last.pt"
_STATE = "bas_run"


@functools.cache
def install() -> None:
    """Put the calls into fairseq. Calling it again does nothing."""
    checkpoint_utils.load_checkpoint = _resumed(checkpoint_utils.load_checkpoint)
    Trainer.save_checkpoint = _with_run_state(Trainer.save_checkpoint)


def _resumed(load_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load_checkpoint)
    def resumed(cfg: Any, trainer: Trainer, **kwargs: Any) -> Any:
        if not is_ours(trainer):
            return load_checkpoint(cfg, trainer, **kwargs)
        replacement = first_worker_decides(trainer, lambda: _choose(cfg, trainer.checkpoint_suffix))
        used = cfg
        if replacement is not None:
            used = copy.deepcopy(cfg)
            used.restore_file, used.finetune_from_model = replacement, None
        # An earlier run in this process may have left its best validation.
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        extra_state, epoch_itr = load_checkpoint(used, trainer, **kwargs)
        _restore_run_state(cfg, trainer, extra_state or {})
        if extra_state is not None:
            seconds = extra_state.get("previous_training_time", 0.0)
            end_if_finished(trainer, epoch_itr, seconds / 3600)
        watch_run(trainer)
        return extra_state, epoch_itr

    return resumed


def _choose(cfg: Any, suffix: str) -> str | None:
    """Clean up after dead processes; return what to load in place of a damaged newest file.

    Sharded checkpoints are in several files, of which none can be replaced alone.
    """
    if not cfg.no_save:
        remove_stale(cfg.save_dir)
    path = os.path.join(cfg.save_dir, DEFAULT_FILE)
    if cfg.restore_file != DEFAULT_FILE or suffix or not PathManager.exists(path):
        return None
    fallback = find_fallback(PathManager.get_local_path(path))
    if fallback is None:
        return None
    logger.warning(fallback.warning)
    return str(fallback.path)


def _with_run_state(save_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(save_checkpoint)
    def saved(self: Trainer, filename: str, extra_state: dict[str, Any]) -> Any:
        if is_ours(self):
            loss = getattr(self, "bas_unsaved_loss", extra_state.get("val_loss"))
            state = {"patience": patience_state(), "valid_loss": loss}
            extra_state = {**extra_state, _STATE: state}
        return save_checkpoint(self, filename, extra_state)

    return saved


def _restore_run_state(cfg: Any, trainer: Trainer, extra_state: dict[str, Any]) -> None:
    """Take back what was counted, where the flags do not ask to forget it."""
    state = extra_state.get(_STATE, {})
    is_forgotten = cfg.reset_optimizer or cfg.reset_meters
    set_patience_state({} if is_forgotten else state.get("patience", {}))
    position = extra_state.get("train_iterator", {})
    if (
        state.get("valid_loss") is not None
        and position.get("iterations_in_epoch") == 0
        and not (cfg.reset_optimizer or cfg.reset_lr_scheduler or cfg.reset_dataloader)
    ):
        # At the end of an epoch, schedulers are told of the validation after the save.
        trainer.lr_step(position["epoch"] - 1, state["valid_loss"])
