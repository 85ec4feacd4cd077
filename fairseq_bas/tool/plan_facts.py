"""What the rules of ``plan_warnings`` look at, read off a planned run."""

import dataclasses
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from omegaconf import OmegaConf

from ..batching.amount import Amount
from ..batching.controller import BatchController
from .plan_run import Course, Plan
from .plan_warnings import PlanFacts, smallest_amount


def facts_of(plan: Plan, course: Course) -> PlanFacts:
    """Return what is known of one course of a run."""
    cfg, scheduler, totals = plan.setup.cfg, plan.scheduler, course.table.totals
    knows_batch = hasattr(scheduler, "kappa") or hasattr(scheduler, "auto_warmup")
    base = plan.base
    epoch_sentences = sum(map(len, plan.iterator.frozen_batches))
    return PlanFacts(
        updates=totals.updates,
        epochs=course.end.epochs,
        epoch_sentences=epoch_sentences,
        largest_sentences=min(totals.largest_batch * base.sentences, epoch_sentences),
        largest_replicas=totals.largest_replicas,
        has_noise=has_noise(plan),
        largest_kappa=totals.largest_kappa,
        scheduler=str(cfg.lr_scheduler._name),
        knows_batch=knows_batch,
        schedule=schedule_name(scheduler, cfg),
        schedule_length=_schedule_length(scheduler, cfg),
        schedule_end=course.schedule_end,
        clock=_clock(scheduler),
        warmup_updates=int(getattr(scheduler.cfg, "warmup_updates", 0) or 0),
        peak_lr=totals.peak_lr,
        adam=str(cfg.optimizer._name) == "adam",
        post_norm_width=post_norm_width(plan.setup.model),
        smallest_batch=smallest_amount(
            [(amount.multiple(base), str(amount)) for amount in amounts(plan.planner.controller)]
        ),
        grain=base.grain,
        workers=plan.setup.workers,
    )


def schedule_name(scheduler: Any, cfg: Any) -> str:
    """Return the name of the schedule of fairseq that makes the decay."""
    return str(getattr(scheduler.cfg, "bas_base_schedule", cfg.lr_scheduler._name))


def _clock(scheduler: Any) -> str:
    if getattr(scheduler, "needs_measurements", False):
        return "gains"
    return str(getattr(scheduler.cfg, "bas_lr_clock", "updates"))


def _schedule_length(scheduler: Any, cfg: Any) -> float | None:
    """Return the length of a decay that has an end, warm-up included."""
    flags, name = scheduler.cfg, schedule_name(scheduler, cfg)
    if name == "polynomial_decay":
        return float(flags.total_num_update or flags.max_update)
    if name == "cosine":
        period = float(flags.lr_period_updates)
        return flags.warmup_updates + period if period > 0 else float(flags.max_update)
    return None


def amounts(controller: BatchController) -> list[Amount]:
    """Return the batches that the user asked for, as far as they are stated."""
    stated = [controller.bounds.minimum, controller.bounds.maximum]
    stated += [getattr(controller, name, None) for name in ("start", "end")]
    schedule = getattr(controller, "schedule", None)
    stated += schedule.values if schedule is not None else ()
    return [amount for amount in stated if amount is not None]


def post_norm_width(model: Any) -> int | None:
    """Return d of a Transformer whose decoder has layer norms after the residuals."""
    for module in model.modules():
        if isinstance(module, TransformerDecoderLayerBase) and not module.normalize_before:
            return int(module.embed_dim)
    return None


def has_noise(plan: Plan) -> bool:
    """Tell whether copies of a sentence can differ, by noise of this plugin or of the model."""
    task = plan.setup.task
    noise = getattr(task, "noise_plan", None)
    if noise is not None and (noise.source or noise.target or noise.output_dropout):
        return True
    if getattr(task.cfg, "bas_offset_copies", False):
        return True
    return any(rate > 0 for rate in _rates(_plain(plan.setup.cfg.model)))


def _plain(cfg: Any) -> Any:
    if OmegaConf.is_config(cfg):
        return OmegaConf.to_container(cfg)
    if dataclasses.is_dataclass(cfg) and not isinstance(cfg, type):
        return dataclasses.asdict(cfg)
    return vars(cfg) if isinstance(cfg, Namespace) else cfg


def _rates(flags: Any) -> Iterator[float]:
    """Yield the rates of dropout and its relatives among the flags of a model."""
    if not isinstance(flags, Mapping):
        return
    for name, value in flags.items():
        if isinstance(value, Mapping):
            yield from _rates(value)
        elif any(word in str(name) for word in ("drop", "zoneout")) and _is_number(value):
            yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
