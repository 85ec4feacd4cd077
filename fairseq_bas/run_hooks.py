"""Moments of a run that fairseq tells nobody about, told to the optimizer and the task.

It also lets an iterator over micro-batches say itself how they are grouped into updates.

An object takes part by having the method; whatever has none of them runs as in plain fairseq.
All are called on every worker.

==============================  ===================================================  =============
method                          called                                               of
==============================  ===================================================  =============
``begin_run(cfg)``              after the optimizer was built                        the optimizer
``name_parameters(names)``      then, with the names of its parameters in order        the optimizer
``observe_validation(l, max)``  after each validation that counts, once              the optimizer
``before_evaluation()``         before a validation and before a checkpoint          the optimizer
``before_update()``             before an update                                     the optimizer
``begin_run(trainer)``          after the optimizer was built                        the task
``check_task(task)``            after that                                           the optimizer
``before_update(trainer, s)``   before an update of the micro-batches s              the task
``clip_norm(norm)``             before clipping; returns the norm to clip at         the task
``shared_norm(norm)``           after clipping; returns the norm to check and log    the optimizer
``observe_gradient_norm(n)``    after clipping, with the norm before it              the task
``before_save()``               before a checkpoint, after ``before_evaluation()``   both
``explain_failure(error)``      after a RuntimeError in one of these moments         the optimizer
==============================  ===================================================  =============

``observe_validation`` gets the value of ``--best-checkpoint-metric`` on the first validation set
and whether larger is better, before the checkpoint of the same moment is written, so that a
resumed run knows exactly what the checkpoint's run knew. Validations without a checkpoint count
too. A validation that only the end of a run asked for (``--max-update``, ``--stop-time-hours``)
does not count: a run that was not stopped there has none. A training loop that is not
``fairseq_cli.train`` must call ``observe_validation`` itself.

``before_evaluation`` and ``before_update`` return True where they changed weights; the half
precision copy of the weights is then brought up to date. ``explain_failure`` raises an error of
its own where it knows better than the one that happened. A crash in the middle of an update is
saved without hooks.
"""

import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any

from fairseq import checkpoint_utils
from fairseq.data import iterators
from fairseq.trainer import Trainer

from .data.growing_iterator import grouped_by


@functools.cache
def install() -> None:
    """Put the calls into fairseq. Calling it again does nothing."""
    checkpoint_utils.save_checkpoint = _prepared_save(checkpoint_utils.save_checkpoint)
    iterators.GroupedIterator = grouped_by(iterators.GroupedIterator)
    Trainer._build_optimizer = _announced_build(Trainer._build_optimizer)
    Trainer.clip_grad_norm = _observed_clip(Trainer.clip_grad_norm)
    begin_valid_epoch = _after_weight_hook("before_evaluation", Trainer.begin_valid_epoch)
    Trainer.begin_valid_epoch = _explained(begin_valid_epoch)
    Trainer.valid_step = _explained(Trainer.valid_step)
    train_step = _announced_update(_after_weight_hook("before_update", Trainer.train_step))
    Trainer.train_step = _explained(train_step)


def inner_optimizer(trainer: Trainer) -> Any:
    """Return the optimizer that is inside of any wrapper for half precision."""
    optimizer = trainer.optimizer
    for attribute in ("fp32_optimizer", "wrapped_optimizer"):
        optimizer = getattr(optimizer, attribute, optimizer)
    return optimizer


def _hook(trainer: Trainer, name: str) -> Callable[..., Any] | None:
    return getattr(inner_optimizer(trainer), name, None)


def _call_weight_hook(trainer: Trainer, name: str) -> None:
    """Call a hook that may change weights, then renew the model's half precision copy of them."""
    hook = _hook(trainer, name)
    renew = getattr(trainer.optimizer, "_sync_fp32_params_to_fp16", None)
    if hook is not None and hook() and renew is not None:
        renew()


def _after_weight_hook(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def hooked(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        _call_weight_hook(self, name)
        return method(self, *args, **kwargs)

    return hooked


def _explained(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let the optimizer say what an error of a method of the trainer means."""

    @functools.wraps(method)
    def explained(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except RuntimeError as error:
            explain = _hook(self, "explain_failure")
            if explain is not None:
                explain(error)
            raise

    return explained


def _announced_update(train_step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(train_step)
    def announced(self: Trainer, samples: Any, *args: Any, **kwargs: Any) -> Any:
        before_update = getattr(self.task, "before_update", None)
        if before_update is not None:
            before_update(self, samples)
        return train_step(self, samples, *args, **kwargs)

    return announced


def _observed_clip(clip_grad_norm: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(clip_grad_norm)
    def observed(self: Trainer, clip_norm: float) -> Any:
        choose = getattr(self.task, "clip_norm", None)
        norm = clip_grad_norm(self, clip_norm if choose is None else choose(clip_norm))
        share = _hook(self, "shared_norm")
        norm = norm if share is None else share(norm)
        observe = getattr(self.task, "observe_gradient_norm", None)
        if observe is not None:
            observe(norm)
        return norm

    return observed


def _prepared_save(save_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(save_checkpoint)
    def prepared(cfg: Any, trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        _explained(_prepare_save)(trainer)
        return save_checkpoint(cfg, trainer, *args, **kwargs)

    return prepared


def _prepare_save(trainer: Trainer) -> None:
    _call_weight_hook(trainer, "before_evaluation")
    for before_save in (
        _hook(trainer, "before_save"),
        getattr(trainer.task, "before_save", None),
    ):
        if before_save is not None:
            before_save()


def _announced_build(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def announced(self: Trainer) -> None:
        build(self)
        begin_run = _hook(self, "begin_run")
        if begin_run is not None:
            begin_run(self.cfg)
        name_parameters = _hook(self, "name_parameters")
        if name_parameters is not None:
            modules = (self.model, self.criterion)
            named = itertools.chain(*(module.named_parameters() for module in modules))
            name_parameters([name for name, p in named if p.requires_grad])
        task_begins = getattr(self.task, "begin_run", None)
        if task_begins is not None:
            task_begins(self)
        elif hasattr(self._lr_scheduler, "begin_run"):
            self._lr_scheduler.begin_run(self.task)
        check_task = _hook(self, "check_task")
        if check_task is not None:
            check_task(self.task)
        if _hook(self, "observe_validation") is not None:
            _watch_validations()

    return announced


def _watch_validations() -> None:
    """Wrap the ``validate`` of the training command, which is a module or the main program."""
    for name in ("fairseq_cli.train", "__main__"):
        module: Any = sys.modules.get(name)
        if hasattr(module, "validate_and_save") and not hasattr(module.validate, "bas_watched"):
            module.validate = _watched(module.validate)


def _watched(validate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(validate)
    def watched(cfg: Any, trainer: Trainer, task: Any, epoch_itr: Any, subsets: list[str]) -> Any:
        losses = validate(cfg, trainer, task, epoch_itr, subsets)
        observe = _hook(trainer, "observe_validation")
        if observe is not None and _counts(cfg, trainer, epoch_itr):
            observe(losses[0], cfg.checkpoint.maximize_best_checkpoint_metric)
        return losses

    watched.bas_watched = True  # type: ignore[attr-defined]
    return watched


def _counts(cfg: Any, trainer: Trainer, epoch_itr: Any) -> bool:
    """Tell whether a run that goes on has a validation here too (see ``validate_and_save``)."""
    if getattr(trainer, "bas_skipped_update", False) and not epoch_itr.end_of_epoch():
        return False  # after an update that overflowed, with the weights of the validation before
    update, hours = trainer.get_num_updates(), trainer.cumulative_training_time() / 3600
    last = cfg.optimization.max_update or float("inf")
    stops = update >= last or 0 < cfg.optimization.stop_time_hours < hours
    if not stops:
        return True
    if epoch_itr.end_of_epoch() and epoch_itr.epoch % cfg.dataset.validate_interval == 0:
        return True
    intervals = [cfg.dataset.validate_interval_updates]
    if not epoch_itr.end_of_epoch():
        intervals.append(cfg.checkpoint.save_interval_updates)
    return any(interval > 0 and update % interval == 0 for interval in intervals)
