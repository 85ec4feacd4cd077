"""Where runs of this plugin differ from fairseq's in half precision, put into fairseq's trainer.

All of it acts in runs of tasks of this plugin only. Policy on losses that diverge is not here: this
lets a skipped update be skipped, and a run that must end say why in one line.
"""

import functools
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from fairseq import trainer as trainer_module
from fairseq.logging import metrics
from fairseq.optim import AMPOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer
from fairseq.trainer import Trainer

from ..errors import UserError
from . import bf16_flag
from .flat_weights import flat_weights_on_cpu
from .loss_scaler import ResumableLossScaler
from .nan_detector import LeafNanDetector
from .replaced import replaced
from .resume_state import KEY, load_precision_state, precision_state
from .unscaled_once import unscale_once

logger = logging.getLogger(__name__)
WRAPPERS = (FP16Optimizer, MemoryEfficientFP16Optimizer, AMPOptimizer)


class SkippedUpdate(Exception):
    """Leave an update whose gradient overflowed, past fairseq's handler, which needs a GPU."""


@functools.cache
def install() -> None:
    """Put the calls into fairseq. Calling it again does nothing.

    Call it after the installation of whatever acts on a failed update: here the run ends.
    """
    bf16_flag.install()
    Trainer._build_optimizer = _resumable_build(Trainer._build_optimizer)
    Trainer.clip_grad_norm = _counted_clip(Trainer.clip_grad_norm)
    Trainer.train_step = _plainly_ended(Trainer.train_step)
    for wrapper in WRAPPERS:
        wrapper.state_dict = _with_precision(wrapper.state_dict)
        wrapper.load_state_dict = _restoring_precision(wrapper.load_state_dict)
        wrapper.zero_grad = _forgetting_factor(wrapper.zero_grad)


def is_ours(trainer: Trainer) -> bool:
    """Tell whether a run's task is one of this plugin."""
    return hasattr(trainer.task, "replica_plan")


# -- the optimizer ----------------------------------------------------------------------------


def _resumable_build(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def built(self: Trainer) -> None:
        if not is_ours(self):
            return build(self)
        with ExitStack() as changes:
            if self.device.type == "cpu":
                changes.enter_context(flat_weights_on_cpu())
            window = _without_scale_window(self.cfg.common, changes)
            try:
                build(self)
            except (ValueError, RuntimeError) as error:
                _explain_build(error, self.cfg)
                raise
        optimizer = self._optimizer
        if not isinstance(optimizer, WRAPPERS):
            return None
        optimizer.bas_resumable = True
        if isinstance(optimizer, AMPOptimizer):
            unscale_once(optimizer)
            optimizer.scaler.overflows = 0
            if window is not None and optimizer.scaler.is_enabled():
                optimizer.scaler.set_growth_interval(window)
        elif optimizer.scaler is not None:
            optimizer.scaler = ResumableLossScaler.of(optimizer.scaler)
        return None

    return built


def _without_scale_window(common: Any, changes: ExitStack) -> int | None:
    """Keep ``--amp-scale-window`` from fairseq, which looks for a flag that does not exist."""
    window: int | None = getattr(common, "amp_scale_window", None)
    if common.amp and window is not None:
        common.amp_scale_window = None
        changes.callback(setattr, common, "amp_scale_window", window)
    return window


def _explain_build(error: Exception, cfg: Any) -> None:
    """Raise a line for the user where fairseq refuses flags of half precision."""
    text, optimizer = str(error), f"--optimizer {cfg.optimizer._name}"
    if text.startswith("Unsupported optimizer"):
        raise UserError(
            f"{optimizer} cannot update weights of half precision, which --memory-efficient-fp16 "
            "and --memory-efficient-bf16 leave it with; pass --fp16 or --bf16 instead"
        ) from error
    if "does not support flat params" in text:
        raise UserError(
            f"{optimizer} needs whole weights, which --fp16 flattens into one vector; pass "
            "--fp16-no-flatten-grads too"
        ) from error
    if text.startswith("--fp16-scale-window"):
        raise UserError(
            "--update-freq changes from epoch to epoch, and the updates after which --fp16 raises "
            "the loss scale follow from it; pass --fp16-scale-window too"
        ) from error


def _with_precision(state_dict: Callable[..., dict]) -> Callable[..., dict]:
    @functools.wraps(state_dict)
    def extended(self: Any) -> dict:
        state = state_dict(self)
        if getattr(self, "bas_resumable", False):
            state = {**state, KEY: precision_state(self)}
        return state

    return extended


def _restoring_precision(load: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(load)
    def restored(self: Any, state_dict: dict, *args: Any, **kwargs: Any) -> None:
        load(self, state_dict, *args, **kwargs)
        if getattr(self, "bas_resumable", False):
            load_precision_state(self, state_dict.get(KEY, {}))

    return restored


def _forgetting_factor(zero_grad: Callable[..., None]) -> Callable[..., None]:
    """Let an update that was abandoned leave no factor on the gradient of the next one."""

    @functools.wraps(zero_grad)
    def zeroed(self: Any) -> None:
        zero_grad(self)
        if getattr(self, "bas_resumable", False) and self.scaler is None:
            self._multiply_factor = 1.0

    return zeroed


# -- an update --------------------------------------------------------------------------------


def _counted_clip(clip_grad_norm: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(clip_grad_norm)
    def counted(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        try:
            norm = clip_grad_norm(self, *args, **kwargs)
        except OverflowError as error:
            if not is_ours(self) or self.cuda:
                raise
            raise SkippedUpdate(str(error)) from error
        if is_ours(self) and self.cfg.common.amp and not torch.isfinite(norm).all():
            self.optimizer.scaler.overflows += 1
        return norm

    return counted


def _plainly_ended(train_step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(train_step)
    def ended(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        if not is_ours(self):
            return train_step(self, *args, **kwargs)
        try:
            with replaced(trainer_module, "NanDetector", LeafNanDetector):
                result = train_step(self, *args, **kwargs)
        except SkippedUpdate as error:
            result = _skip(self, error)
        except FloatingPointError as error:
            raise UserError(_ending(self, error)) from error
        self.bas_skipped_update = result is None
        if result is not None:
            self._amp_retries = 0  # which fairseq keeps after a retry that went well
        _log_overflows(self)
        return result

    return ended


def _skip(trainer: Trainer, error: SkippedUpdate) -> None:
    """Do what fairseq does of an update whose gradient overflowed."""
    logger.info(f"NOTE: gradient overflow detected, ignoring gradient, {error}")
    trainer.zero_grad()
    scale = trainer.optimizer.scaler.loss_scale
    metrics.log_scalar("loss_scale", scale, priority=700, round=4, weight=0)
    metrics.log_stop_time("train_wall")


def _ending(trainer: Trainer, error: FloatingPointError) -> str:
    """Return the last line of a run that ends for gradients which no guard has spoken about."""
    saved = f"{trainer.cfg.checkpoint.save_dir}/crash.pt holds the weights before it"
    return f"update {trainer.get_num_updates() + 1}: {error}; {saved}"


def _log_overflows(trainer: Trainer) -> None:
    scaler = getattr(trainer.optimizer, "scaler", None)
    if hasattr(scaler, "overflows"):
        metrics.log_scalar("bas_overflows", scaler.overflows, priority=701, round=0, weight=0)
