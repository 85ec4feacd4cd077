"""What is reported of a planned run, and all of it as a JSON document."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import fairseq
import numpy as np
import torch

from ..data.stored_lengths import target_sizes
from ..version import __version__
from .plan_facts import schedule_name
from .plan_memory import HOW, MemoryEstimate
from .plan_run import EPOCHS_OF_AN_ENDLESS_RUN, Course, Plan


@dataclass(frozen=True)
class Report:
    """Hold what is reported of a planned run.

    Attributes:
        plan: the run.
        memory: of a device; None if it was not asked for.
        warnings: sentences.
        notes: what the plan cannot know, sentences.
        flags: of fairseq-train.
    """

    plan: Plan
    memory: MemoryEstimate | None = None
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    flags: Sequence[str] = field(default_factory=tuple)

    @property
    def data(self) -> dict[str, Any]:
        """Return the size of an epoch."""
        iterator = self.plan.iterator
        batches, dataset = iterator.frozen_batches, iterator.dataset
        used = np.concatenate([np.asarray(batch) for batch in batches])
        return {
            "unit": getattr(dataset, "unit", "sentences"),
            "sentences": len(used),
            "target_tokens": int(target_sizes(dataset, used).sum()),
            "micro_batches": len(batches),
        }


def notes_of(plan: Plan, checkpoint: str | None) -> list[str]:
    """Return what a plan cannot know.

    Args:
        plan: the run.
        checkpoint: a file that training would go on from, None if there is none.
    """
    cfg, notes = plan.setup.cfg, []
    if any(course.is_cut for course in plan.courses):
        notes.append(
            f"the run has no end, and its first {EPOCHS_OF_AN_ENDLESS_RUN} epochs are planned; "
            "pass --max-epoch or --max-update"
        )
    stopping = [
        flag
        for flag, is_given in (
            ("--patience", cfg.checkpoint.patience > 0),
            ("--stop-time-hours", cfg.optimization.stop_time_hours > 0),
        )
        if is_given
    ]
    if stopping:
        notes.append(f"{' and '.join(stopping)} may end the run earlier")
    if schedule_name(plan.scheduler, cfg) == "reduce_lr_on_plateau":
        notes.append("the learning rate of reduce_lr_on_plateau is planned as if never lowered")
    if checkpoint is not None:
        notes.append(f"the plan begins at the first update, and training would resume {checkpoint}")
    return notes


def rules_of(plan: Plan) -> dict[str, str]:
    """Return what decides batch, copies and learning rate, by what it decides."""
    task, scheduler, cfg = plan.setup.task, plan.scheduler, plan.setup.cfg
    large_batch = getattr(task, "large_batch", None)
    rules = {}
    if large_batch is not None:
        rules["batch"] = plan.planner.controller.describe()
        rules["reference"] = f"{plan.planner.reference}, where kappa is 1"
        rules["copies"] = _copies(task.replica_plan)
        for side, policy in task.noise_plan.policies.items():
            if policy:
                rules[f"{side} noise"] = str(policy)
    if hasattr(scheduler, "describe"):
        rules["learning rate"] = scheduler.describe()
    else:
        rates = ", ".join(f"{lr:g}" for lr in cfg.optimization.lr)
        rules["learning rate"] = f"{rates} by {cfg.lr_scheduler._name}, whatever the batch"
    return rules


def _copies(replica_plan: Any) -> str:
    placement = replica_plan.largest()
    if placement.replicas == 1:
        return "M = 1"
    return (
        f"M = {replica_plan.schedule}, placed as {replica_plan.kind}: {placement.replicas} = "
        f"{placement.workers} workers x {placement.passes} passes x {placement.rows} rows"
    )


def json_report(report: Report) -> str:
    """Return everything as one JSON document, with what is needed to repeat it.

    Returns:
        A JSON object; ``courses`` holds one course, or ``low`` and ``high``, each with ``rows``,
        ``stages`` and ``totals``.
    """
    plan, memory = report.plan, report.memory
    document = {
        "workers": plan.setup.workers,
        "epoch": report.data,
        "base_batch": {
            "sentences": plan.base.sentences,
            "target_tokens": plan.base.target_tokens,
            "kappa": plan.planner.kappa_of_base,
        },
        "rules": rules_of(plan),
        "measured": plan.measured,
        "courses": [_described(course) for course in plan.courses],
        "memory": None
        if memory is None
        else {
            "bytes": {**memory.parts, "total": memory.total},
            "sentences": memory.sentences,
            "copies": memory.copies,
            "how": HOW,
            "notes": memory.notes,
        },
        "warnings": list(report.warnings),
        "notes": list(report.notes),
        "flags": list(report.flags),
        "versions": {
            "fairseq_bas": __version__,
            "fairseq": fairseq.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _described(course: Course) -> dict[str, Any]:
    table = course.table
    stages = [
        {
            "first": stage.first.update,
            "last": stage.last.update,
            "updates": stage.updates,
            "sentences": stage.sentences,
            "target_tokens": stage.target_tokens,
            "token_copies": stage.token_copies,
            "batches": stage.batches,
            "replicas": stage.replicas,
            "lr": (stage.first.lr, stage.last.lr),
        }
        for stage in table.stages
    ]
    return {
        "outlook": course.outlook,
        "totals": {**vars(table.totals), "epochs": course.end.epochs},
        "stages": stages,
        "rows": [row._asdict() for row in table.rows],
    }
