"""``--lr-scheduler bas_adascale``: a gain from gradient variance (Johnson et al. 2020)."""

from dataclasses import dataclass
from typing import Any

from fairseq.optim.lr_scheduler import register_lr_scheduler

from ..batching.planner import UpdatePlan
from ..config import Clock
from ..errors import refuse_with
from .planned_scheduler import PlannedScheduleConfig, PlannedScheduler


@dataclass
class BasAdaScaleConfig(PlannedScheduleConfig):
    """Flags of ``--lr-scheduler bas_adascale``."""


@register_lr_scheduler("bas_adascale", dataclass=BasAdaScaleConfig)
class BasAdaScaleScheduler(PlannedScheduler):
    r"""Let an update of a larger batch count for as many reference updates as it is worth.

    With the gain r of the batch, 1 to kappa (`measure.adascale`), the learning rate is
    :math:`r\,\eta(\tau)` and the base schedule's clock moves on by r: :math:`\tau \leftarrow \tau +
    r`. The run ends when the base schedule does, so its length is that of the reference run
    (``--total-num-update`` of polynomial_decay; else ``--max-update`` ends it). Shown for SGD with
    momentum, step decay and Transformers; with Adam it is an experiment.
    """

    name = "bas_adascale"
    needs_measurements = True

    def __init__(self, cfg: BasAdaScaleConfig, optimizer):
        super().__init__(cfg, optimizer)
        with refuse_with():
            if self.rule.exponent or str(cfg.bas_lr_clock) != "updates":
                raise ValueError(
                    "--lr-scheduler bas_adascale scales the learning rate by its own gain on its "
                    "own clock; leave --bas-lr-scaling and --bas-lr-clock out"
                )
        self.progress = 0.0
        self.gain_of_batch = lambda kappa: 1.0
        self.gain = 1.0

    def begin_run(self, task) -> None:
        """Find the planner and the measurements of the task."""
        super().begin_run(task)
        self.gain_of_batch = task.large_batch.gain

    def check(self, controller) -> None:
        """Refuse batch schedules that change the learning rate themselves."""
        if controller.follows_decay or controller.couples_lr:
            raise ValueError(
                f"--bas-batch-schedule {controller.name} changes the learning rate and "
                "--lr-scheduler bas_adascale does so too; use a schedule of batches alone, such as "
                "1x@0,8x@5e, or --lr-scheduler bas_scaled"
            )

    def base_clock(self, clock: Clock) -> float:
        """Return the progress, the sum of gains."""
        return self.progress

    def multiplier(self, plan: UpdatePlan, kappa: float) -> float:
        """Return the gain of the planned update."""
        self.gain = self.gain_of_batch(kappa)
        return self.gain

    def observe_update(self) -> None:
        """Count the update that was made for as much as it was worth."""
        self.progress += self.gain

    @property
    def finished(self) -> bool:
        """Tell whether the reference run would have ended here."""
        is_finite = str(self.cfg.bas_base_schedule) == "polynomial_decay"
        return is_finite and self.progress >= self.base.length

    def metrics(self) -> dict[str, float]:
        """Return what to log after each update."""
        return {"gain": self.gain, "progress": self.progress}

    def state_dict(self) -> dict[str, Any]:
        """Return the progress."""
        return {**super().state_dict(), "progress": self.progress}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the progress; of another scheduler there is none."""
        super().load_state_dict(state_dict)
        self.progress = state_dict.get("progress", 0.0)
