"""Let a run of ours have several workers wherever it stands: CPU or GPU, torchrun or not.

fairseq counts GPUs to decide how many workers there are and how they talk. So on a CPU it trains
nothing or fails, and under torchrun on machines of one GPU each machine trains alone. Here the
flags of a run whose task is one of ours are completed before fairseq looks at them:

=================================  ====================================================
started as                         workers
=================================  ====================================================
``torchrun ... fairseq-train``     those of torchrun, one device each
``--distributed-world-size N``     on the CPU: N processes of this machine, forked
``--distributed-no-spawn``         as the flags say; each worker was started by the user
=================================  ====================================================

On the CPU workers talk by gloo and share gradients by fairseq's ``legacy_ddp``.
"""

import functools
import logging
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import torch
from fairseq.distributed import utils as distributed_utils
from omegaconf import DictConfig

from ..errors import UserError
from .cpu_workers import run_on_cpu
from .told_once import tell_once

logger = logging.getLogger(__name__)

_TORCHRUN = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK")
_CPU_SHARING = {"c10d": "legacy_ddp", "pytorch_ddp": "legacy_ddp"}


@functools.cache
def install() -> None:
    """Complete the flags of runs of ours. Calling it again does nothing."""
    distributed_utils.call_main = _with_workers(distributed_utils.call_main)
    distributed_utils.distributed_init = _without_gpu(distributed_utils.distributed_init)


def is_ours(cfg: Any) -> bool:
    """Tell whether the task of a run is one of ours.

    Args:
        cfg: the whole configuration of a run.
    """
    return str(getattr(cfg.task, "_name", None) or "").startswith("bas_")


def _with_workers(call_main: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call_main)
    def with_workers(cfg: Any, main: Callable[..., Any], **kwargs: Any) -> Any:
        if not is_ours(cfg):
            return call_main(cfg, main, **kwargs)
        workers = cfg.distributed_training
        _join_torchrun(workers)
        on_cpu = cfg.common.cpu and workers.distributed_world_size > 1
        if on_cpu:
            _choose_cpu_ways(workers)
        _renew_copies(cfg)
        if on_cpu and not workers.distributed_no_spawn:
            _check_alone(workers)
            return run_on_cpu(cfg, functools.partial(tell_once, main), kwargs)
        return call_main(cfg, functools.partial(tell_once, main), **kwargs)

    return with_workers


def _join_torchrun(workers: Any) -> None:
    """Take rank, world size and device from torchrun, also where fairseq sees only one GPU."""
    given = {name: os.environ.get(name) for name in _TORCHRUN}
    if workers.distributed_init_method is not None or None in given.values():
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun killed leaves no workers that train on
        torch.multiprocessing._prctl_pr_set_pdeathsig(signal.SIGKILL)
    if given["WORLD_SIZE"] == "1":
        workers.distributed_world_size = 1
        return
    workers.distributed_init_method = "env://"
    workers.distributed_world_size = int(given["WORLD_SIZE"])
    workers.distributed_rank = int(given["RANK"])
    workers.device_id = int(given["LOCAL_RANK"])
    workers.distributed_no_spawn = True


def _choose_cpu_ways(workers: Any) -> None:
    """Choose gloo, and the way to share gradients that fairseq has for the CPU."""
    sharing = _CPU_SHARING.get(workers.ddp_backend, workers.ddp_backend)
    if sharing not in ("legacy_ddp", "no_c10d"):
        raise UserError(
            f"--ddp-backend {sharing} needs GPUs, but --cpu was given; leave out --ddp-backend"
        )
    workers.distributed_backend = "gloo"
    workers.ddp_backend = sharing
    if workers.distributed_rank == 0:
        logger.info(
            f"{workers.distributed_world_size} workers on the CPU: they talk by gloo and share "
            f"gradients by {sharing}"
        )


def _renew_copies(cfg: Any) -> None:
    """Renew the copies that parts of the configuration got when the flags were read."""
    workers = cfg.distributed_training
    for part in cfg.values():
        for name in ("distributed_world_size", "distributed_no_spawn", "ddp_backend"):
            if part is not workers and isinstance(part, DictConfig) and name in part:
                part[name] = workers[name]


def _check_alone(workers: Any) -> None:
    """Refuse to start workers here if another process does the same for the same run."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        raise UserError(
            f"--distributed-world-size {workers.distributed_world_size} --cpu would start that "
            "many workers in each task of this Slurm step; start one task a node with "
            "scripts/slurm/train.sbatch"
        )
    if workers.distributed_rank:
        raise UserError(
            f"--distributed-rank {workers.distributed_rank} with --cpu means that each worker is "
            "started by hand; pass --distributed-no-spawn too, or use scripts/launch.sh"
        )


def _without_gpu(distributed_init: Callable[..., int]) -> Callable[..., int]:
    """Keep workers on the CPU from touching a GPU that the machine happens to have."""

    @functools.wraps(distributed_init)
    def without_gpu(cfg: Any) -> int:
        if not (is_ours(cfg) and cfg.common.cpu) or torch.distributed.is_initialized():
            return distributed_init(cfg)
        workers = cfg.distributed_training
        torch.distributed.init_process_group(
            workers.distributed_backend,
            init_method=workers.distributed_init_method,
            world_size=workers.distributed_world_size,
            rank=workers.distributed_rank,
        )
        with warnings.catch_warnings():  # that it cannot be initialised twice
            warnings.simplefilter("ignore")
            return distributed_init(cfg)

    return without_gpu
