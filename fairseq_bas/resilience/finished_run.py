"""Leave a run alone that is started again although it has reached its end.

fairseq compares a run with its limits only after an update, so each start of a finished run would
make one update more and save it over the end of the run.
"""

import logging
from typing import Any

from fairseq.trainer import Trainer

from .agreement import leave_group
from .patience import patience_state

logger = logging.getLogger(__name__)


def end_if_finished(trainer: Trainer, epoch_iterator: Any, hours: float) -> None:
    """End the process where the checkpoint that was loaded is the end of the run.

    Args:
        trainer: of the run, its checkpoint loaded; all workers must call this.
        epoch_iterator: of training, at the position of the checkpoint.
        hours: of training that the checkpoint has behind it.

    Raises:
        SystemExit: with exit code 0, after one line that says which flag goes on.
    """
    reached = limit_reached(trainer, epoch_iterator, hours)
    if reached is None:
        return
    logger.info(
        f"the run in {trainer.cfg.checkpoint.save_dir} is finished after "
        f"{trainer.get_num_updates()} updates: it has reached {reached}; pass a larger one to go on"
    )
    leave_group()
    raise SystemExit(0)


def limit_reached(trainer: Trainer, epoch_iterator: Any, hours: float) -> str | None:
    """Return the flag and the value that a run has reached, the same on every worker.

    Args:
        trainer: as of `end_if_finished`.
        epoch_iterator: as of `end_if_finished`.
        hours: as of `end_if_finished`.
    """
    cfg, scheduler = trainer.cfg.optimization, trainer.lr_scheduler
    counted = {
        "--max-update": (trainer.get_num_updates(), cfg.max_update),
        "--max-epoch": (epoch_iterator.next_epoch_idx - 1, cfg.max_epoch),
        "--stop-time-hours": (hours, cfg.stop_time_hours),
        "--patience": (patience_state().get("num_runs", 0), trainer.cfg.checkpoint.patience),
    }
    for flag, (count, limit) in counted.items():
        if limit and 0 < limit <= count:
            return f"{flag} {limit:g}" if flag == "--stop-time-hours" else f"{flag} {limit}"
    if getattr(scheduler, "finished", False):
        return "--total-num-update, the end of its schedule"
    return None
