"""What a run will do, said once before its first update."""

import logging
import platform

import fairseq
import numpy as np
import torch

from ..data.stored_lengths import target_sizes
from ..rng import fingerprint
from ..version import __version__

logger = logging.getLogger(__name__)


def log_run_summary(task, iterator):
    """Log the distinct and the replicated batch, its schedule, the learning rate and the noise.

    Args:
        task: a task with ``ReplicatedUpdate``.
        iterator: the ``TrainIterator``, whose frozen batches are averaged over.
    """
    logger.info(
        "\n  ".join(
            [
                "batch augmentation",
                *_batch_lines(task.replica_plan, iterator, task.cfg),
                *_schedule_lines(task.large_batch),
                *_noise_lines(task.noise_plan, iterator.dataset),
                *_adversarial_lines(task),
                *_lines(task),
            ]
        )
    )


def _batch_lines(plan, iterator, cfg):
    """Describe the batch of the largest M; sizes are means over the epoch's micro-batches."""
    batches, dataset = iterator.frozen_batches, iterator.dataset
    used = np.concatenate([np.asarray(batch) for batch in batches])
    sentences = len(used) / len(batches)
    tokens = target_sizes(dataset, used).sum() / len(batches)
    placement = plan.largest()
    per_update = cfg.update_freq[0] * iterator.num_shards
    unit = getattr(dataset, "unit", "sentences")
    copies = placement.replicas * per_update
    yield (
        f"replicas       M = {plan.schedule}, placed as {plan.kind}: {placement.replicas} = "
        f"{placement.workers} workers x {placement.passes} passes x {placement.rows} rows"
    )
    yield (
        f"micro-batch    {sentences:.1f} {unit}, {tokens:.0f} target tokens, distinct; a pass "
        f"holds {placement.rows} of each"
    )
    yield (
        f"update         {per_update} micro-batches: {sentences * per_update:.0f} {unit}, "
        f"{tokens * per_update:.0f} target tokens; {sentences * copies:.0f} and "
        f"{tokens * copies:.0f} with copies"
    )
    if len(used) < len(dataset):
        yield (
            f"left out       {len(dataset) - len(used)} of {len(dataset)} sentences by fairseq: "
            "too long, or in a last batch that is no --required-batch-size-multiple"
        )


def _schedule_lines(large_batch):
    """Describe how the distinct batch changes, and what it is compared with."""
    planner = large_batch.planner
    if large_batch.is_scheduled:
        yield f"batch schedule {planner.controller.describe()}; 1x is {planner.base}"
    if large_batch.says_kappa:
        yield (
            f"kappa          {planner.kappa_of_base:.4g} at 1x: the batch as a multiple of the "
            f"reference batch, {planner.reference}"
        )
    if large_batch.measurement.every:
        yield f"noise scale    measured in every {large_batch.measurement.every}-th update"


def _noise_lines(noise, dataset):
    """Describe what makes the copies differ besides the model's own dropout."""
    for side, policy in noise.policies.items():
        if policy:
            growth = getattr(dataset, "growth", (1.0, 1.0))[side == "target"]
            longer = f"; sentences {growth:.2f} times as long" if policy["subword"] else ""
            yield f"{side} noise   {policy}{longer}"
    variation = noise.variation
    if noise.source or noise.target:
        words = ("clean", "graded", "complementary")
        given = [word for word in words if getattr(variation, word)]
        yield f"over copies    {', '.join(given) or 'alike and independent'}"
    if noise.split != "input":
        where = "decoder" if noise.split == "encoder" else "output layer"
        yield f"copies share   all before the {where}"


def _adversarial_lines(task):
    """Describe the adversarial copies."""
    if task.adversarial_plan:
        by_schedule = task.scheduled_share() is not None
        yield f"adversarial    {task.adversarial_plan.describe(by_schedule)}"


def _lines(task):
    cfg, scheduler = task.cfg, task.large_batch.scheduler
    if hasattr(scheduler, "describe"):
        yield f"learning rate  {scheduler.describe()}"
    else:
        yield (
            f"learning rate  {', '.join(map(str, cfg.lr))} as given; copies do not change it, the "
            "gradient is their mean"
        )
    yield f"noise          seed {cfg.seed}, key fingerprint {fingerprint(cfg.seed)}"
    yield (
        f"versions       fairseq_bas {__version__}, fairseq {fairseq.__version__}, "
        f"torch {torch.__version__}, python {platform.python_version()}"
    )
