"""A learning rate that knows the batch: what the registered large-batch schedulers share."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum
from fairseq.optim.lr_scheduler import FairseqLRScheduler

from ..batching.planner import UpdatePlan
from ..config import Clock
from ..errors import UserError, refuse_with
from .base_schedule import BaseSchedule, BaseScheduleConfig
from .scaling_rule import parse_scaling_rule

LR_CLOCKS = ChoiceEnum(["updates", "samples"])
SCALE_BY = ChoiceEnum(["distinct", "rows", "effective"])


@dataclass
class PlannedScheduleConfig(BaseScheduleConfig):
    """Hold the flags of every scheduler that knows the batch."""

    bas_lr_scaling: str = field(
        default="none",
        metadata={
            "help": "how the learning rate grows with the batch, kappa times that of "
            "--bas-reference-batch: none, sqrt, linear, or an exponent of kappa from 0 to 1"
        },
    )
    bas_scale_also: Optional[str] = field(
        default=None,
        metadata={
            "help": "what else follows kappa, with commas between: betas and eps (of Adam: Malladi "
            "et al. 2022), ema (decay of --store-ema), clip (--clip-norm, as the gradient's norm)"
        },
    )
    bas_scale_by: SCALE_BY = field(
        default="distinct",
        metadata={
            "help": "the batch that kappa is counted in: distinct sentences, rows (times M), or "
            "effective (distinct times what M copies are worth by the measured variances)"
        },
    )
    bas_lr_clock: LR_CLOCKS = field(
        default="updates",
        metadata={
            "help": "what moves the base schedule on: updates, so that a larger batch sees as many "
            "updates and more epochs (regime adaptation), or samples, so that it has the learning "
            "rate of the reference run after the same text; all its lengths then are in updates of "
            "--bas-reference-batch"
        },
    )


class PlannedScheduler(FairseqLRScheduler):
    """Multiply a base schedule by what the update's batch calls for.

    Subclasses say by `multiplier` and `base_clock` how. A task of this plugin calls `attach`; the
    learning rate of an update is set once its batch is planned, just before it is made.
    """

    name = ""

    def __init__(self, cfg: PlannedScheduleConfig, optimizer):
        super().__init__(cfg, optimizer)
        with refuse_with():
            self.base = BaseSchedule(cfg, optimizer)
            self.rule = parse_scaling_rule(cfg.bas_lr_scaling, cfg.bas_scale_also)
        self.planner = None
        self.effective_factor = lambda: 1.0
        self._settings = [dict(group) for group in optimizer.param_groups]

    # -- what subclasses change ---------------------------------------------------------------

    def base_clock(self, clock: Clock) -> float:
        """Return how many updates of the reference batch the base schedule has behind it."""
        if str(self.cfg.bas_lr_clock) == "samples" and self.planner is not None:
            return self.planner.reference_updates(clock)
        return clock.updates

    def multiplier(self, plan: UpdatePlan, kappa: float) -> float:
        """Return what the base schedule's learning rate is multiplied by, for its batch."""
        return self.rule.learning_rate(kappa)

    # -- life ---------------------------------------------------------------------------------

    def begin_run(self, task) -> None:
        """Find the planner of the task.

        Raises:
            UserError: if the task has none, or its batch schedule cannot work with this one.
        """
        large_batch = getattr(task, "large_batch", None)
        if large_batch is None:
            raise UserError(
                f"--lr-scheduler {self.name} follows the batch, which only tasks of this plugin "
                "plan; pass --task bas_translation or --task bas_language_modeling"
            )
        with refuse_with():
            large_batch.attach_scheduler(self)
        self.planner = large_batch.planner
        self.effective_factor = large_batch.effective_factor
        self.planner.decay = lambda clock: self.base.decay(self.base_clock(clock))

    def check(self, controller) -> None:
        """Refuse a batch schedule that this scheduler cannot work with.

        Raises:
            ValueError: in one sentence.
        """
        if controller.follows_decay and str(self.cfg.bas_lr_clock) != "samples":
            raise ValueError(
                f"--bas-batch-schedule {controller.name} turns the decay over the data seen into "
                "growth, and with --bas-lr-clock updates the decay would slow down as the batch "
                "grows; pass --bas-lr-clock samples"
            )

    def kappa(self, plan: UpdatePlan) -> float:
        """Return the batch of an update as a multiple of the reference batch."""
        replicas = self.planner.replicas(plan.clock) if self.planner is not None else 1
        by = str(self.cfg.bas_scale_by)
        if by == "rows":
            return plan.kappa * replicas
        if by == "effective":
            return plan.kappa * self.effective_factor()
        return plan.kappa

    def step_update(self, num_updates):
        """Set and return the learning rate of the update that is planned."""
        if self.planner is None:
            plan, kappa = UpdatePlan(Clock(updates=num_updates)), 1.0
        else:
            plan = self.planner.plan
            kappa = self.kappa(plan)
        base = self.base.at(self.base_clock(plan.clock))
        learning_rate = base * plan.lr_factor * self.multiplier(plan, kappa)
        self.optimizer.set_lr(learning_rate)
        self._scale_settings(kappa)
        return learning_rate

    def _scale_settings(self, kappa: float) -> None:
        """Set Adam's betas and epsilon where they follow kappa."""
        for group, given in zip(self.optimizer.param_groups, self._settings, strict=True):
            if "betas" in given:
                group["betas"] = self.rule.betas(given["betas"], kappa)
            if "eps" in given:
                group["eps"] = self.rule.eps(given["eps"], kappa)

    def step(self, epoch, val_loss=None):
        """Keep the learning rate at the end of an epoch."""
        super().step(epoch, val_loss)
        return self.optimizer.get_lr()

    def observe_update(self) -> None:
        """Take note that the planned update was made."""

    def describe(self) -> str:
        """Return one line for the run summary."""
        parts = [f"{self.base.peak} by {self.name} over {self.cfg.bas_base_schedule}"]
        if self.rule.exponent:
            parts.append(f"times kappa^{self.rule.exponent:g} of the {self.cfg.bas_scale_by} batch")
        parts.append(f"clock {self.cfg.bas_lr_clock}")
        if self.rule.coupled:
            parts.append(f"also {', '.join(self.rule.coupled)}")
        return "; ".join(parts)
