"""What a run of workers with weights of their own cannot have; one sentence each."""

from typing import Any

BY = "--optimizer bas_decentlam"


def check_run(cfg: Any) -> None:
    """Refuse flags of fairseq and of the task that need equal weights on all workers.

    Args:
        cfg: fairseq's config of a run of several workers that exchange weights with neighbours.

    Raises:
        ValueError: one sentence.
    """
    backend = str(cfg.distributed_training.ddp_backend)
    if backend not in ("legacy_ddp", "no_c10d"):
        raise ValueError(
            f"{BY} exchanges weights with neighbours in place of the gradients that --ddp-backend "
            f"{backend} adds up over all workers; pass --ddp-backend legacy_ddp"
        )
    refused = {
        "--use-bmuf": (cfg.optimization.use_bmuf, "averages weights too"),
        "--zero-sharding os": (
            str(cfg.distributed_training.zero_sharding) == "os",
            "splits the state that every worker needs whole",
        ),
        "--fp16": (cfg.common.fp16, "lets one worker skip an update that the others wait for"),
        "--amp": (cfg.common.amp, "lets one worker skip an update that the others wait for"),
        "--store-ema": (cfg.ema.store_ema, "would keep the average of the first worker only"),
        "--model-parallel-size": (
            cfg.common.model_parallel_size > 1,
            "gives workers different parts of a model",
        ),
        "--pipeline-model-parallel": (
            cfg.distributed_training.pipeline_model_parallel,
            "gives workers different parts of a model",
        ),
        "--bas-placement workers": (
            str(getattr(cfg.task, "bas_placement", "")) == "workers",
            "spreads the copies of a sentence over workers, whose weights differ",
        ),
        "--bas-adversarial stale": (
            str(getattr(cfg.task, "bas_adversarial", "")) == "stale",
            "keeps the earlier weights of the first worker only in a checkpoint",
        ),
    }
    for flag, (is_given, reason) in refused.items():
        if is_given:
            raise ValueError(f"{flag} {reason}, so {BY} cannot go with it; leave it out")


def check_task(task: Any) -> None:
    """Refuse schedules that measure the gradient of the whole batch, which no worker has.

    Args:
        task: fairseq's task, after the run has begun; plain ones have nothing to refuse.

    Raises:
        ValueError: one sentence.
    """
    large_batch = getattr(task, "large_batch", None)
    if large_batch is None:
        return
    controller = large_batch.planner.controller
    if controller.extends_update or controller.needs - {"loss"}:
        raise ValueError(
            f"--bas-batch-schedule {controller.name} measures the gradient or the curvature at "
            f"weights that all workers share, and with {BY} they have their own; choose a schedule "
            "by updates, epochs or the loss"
        )
    if large_batch.measurement.every:
        raise ValueError(
            f"the gradient noise scale needs the gradient of all workers, which {BY} never adds "
            "up; leave out --bas-measure-every, --lr-scheduler bas_adascale and --bas-scale-by "
            "effective"
        )
