"""``--lr-scheduler triangle_lr``: a triangle over the updates, times what the batch calls for."""

from dataclasses import dataclass, field

from fairseq.optim.lr_scheduler import register_lr_scheduler

from fairseq_bas.schedule.planned_scheduler import PlannedScheduleConfig, PlannedScheduler


@dataclass
class TriangleConfig(PlannedScheduleConfig):
    """Flags: those of every scheduler that knows the batch, and one more."""

    triangle_updates: int = field(default=1000, metadata={"help": "length of a triangle"})


@register_lr_scheduler("triangle_lr", dataclass=TriangleConfig)
class TriangleScheduler(PlannedScheduler):
    """Multiply the scaled learning rate by 1 - |2x - 1|, x how much of the triangle is over."""

    name = "triangle_lr"

    def multiplier(self, plan, kappa):
        """Return the factor for the update that is planned."""
        part = (plan.clock.updates % self.cfg.triangle_updates) / self.cfg.triangle_updates
        return super().multiplier(plan, kappa) * (1 - abs(2 * part - 1))
