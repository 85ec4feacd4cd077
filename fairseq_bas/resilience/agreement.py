"""What all workers of a run must decide alike, or some of them would wait for the others."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.tasks import TASK_REGISTRY
from fairseq.trainer import Trainer

from ..errors import UserError

Answer = TypeVar("Answer")


def is_ours(trainer: Trainer) -> bool:
    """Tell whether a run is one of this package's tasks: others stay as fairseq made them."""
    from ..task.update import ReplicatedUpdate

    return isinstance(trainer.task, ReplicatedUpdate)


def is_our_config(cfg: Any) -> bool:
    """Tell the same from the config of a run."""
    from ..task.update import ReplicatedUpdate

    task = TASK_REGISTRY.get(getattr(getattr(cfg, "task", None), "_name", None))
    return isinstance(task, type) and issubclass(task, ReplicatedUpdate)


def first_worker_decides(trainer: Trainer, decide: Callable[[], Answer]) -> Answer:
    """Let the first worker call ``decide`` and tell the others.

    Args:
        trainer: of the run; all workers must call this.
        decide: returns None, a number, text or a list of these.

    Returns:
        What ``decide`` returned on the first worker.

    Raises:
        UserError: on every worker, with the message of the ``ValueError`` that ``decide`` raised.
    """
    answer, problem = None, None
    if trainer.data_parallel_rank == 0:
        try:
            answer = decide()
        except ValueError as error:
            problem = str(error)
    if trainer.data_parallel_world_size > 1:
        answer, problem = _broadcast(trainer, (answer, problem), 0)
    if problem is not None:
        raise UserError(problem)
    return answer  # type: ignore[return-value]


def raise_everywhere(trainer: Trainer, problem: str | None) -> None:
    """End all workers with the problem of one of them.

    Args:
        trainer: of the run; all workers must call this.
        problem: one sentence for the user, None on workers that have none.

    Raises:
        UserError: on every worker, if any has a problem.
    """
    if trainer.data_parallel_world_size > 1:
        worker = largest(trainer, 0 if problem is None else 1 + trainer.data_parallel_rank) - 1
        if worker >= 0:
            problem = _broadcast(trainer, problem, worker)
    if problem is not None:
        raise UserError(problem)


def largest(trainer: Trainer, number: int) -> int:
    """Return the largest of the numbers of all workers, which must all call this."""
    if trainer.data_parallel_world_size == 1:
        return number
    tensor = torch.tensor([number], device=trainer.device)
    group = trainer.data_parallel_process_group
    return int(distributed_utils.all_reduce(tensor, group, op="max").item())


def is_first() -> bool:
    """Tell whether this process is the first worker, or the only one."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def told_by_first(error: UserError) -> UserError:
    """Let only the first worker print the message of an error that all have; all exit with 1."""
    if not is_first():
        error.code = 1
    return error


def leave_group() -> None:
    """Close the connections between workers, all of which end now for the same reason.

    A worker that ended with open connections could abort, and its exit code be lost.
    """
    if torch.distributed.is_initialized():
        with contextlib.suppress(RuntimeError):  # another worker may be gone already
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()


def _broadcast(trainer: Trainer, value: Any, worker: int) -> Any:
    group = trainer.data_parallel_process_group
    return distributed_utils.broadcast_object(value, worker, group, trainer.device)
