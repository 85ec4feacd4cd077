"""What measurements will tell a run that follows them: nothing is known, but the two ends are.

A planned run is told one or the other in place of what a real one measures, through the same calls.
"""

from typing import Any

from ..batching.controller import Measured
from ..measure.noise_scale import NoiseScaleEstimate
from ..schedule.auto_warmup import Verdict

# Far beyond every batch: sums of them over copies and updates must stay finite.
_HUGE, _TINY = 1e30, 1e-30


class Outlook:
    """Stand in for the measurements of a run.

    Args:
        is_high: True if gradients turn out to be all noise and the loss ever flatter, so that batch
            and learning rate go up as fast as they may; False if there is no noise and the loss
            stays as it is.

    Attributes:
        name: ``high`` or ``low``.
    """

    def __init__(self, is_high: bool):
        self.is_high = is_high
        self.name = "high" if is_high else "low"
        self.variance = _HUGE if is_high else _TINY
        self._eigenvalue = _HUGE

    def so_far(self) -> tuple[float, float]:
        """Return variance and squared gradient per token, for an update that may be extended."""
        return self.variance, 1.0

    def after_update(self, large_batch: Any, scheduler: Any, update: int, lr: float) -> None:
        """Tell a task's ``LargeBatch`` and the scheduler what the update measured.

        Args:
            large_batch: of the task.
            scheduler: of the learning rate.
            update: number of the update, from 1.
            lr: its learning rate.
        """
        planner, measurement = large_batch.planner, large_batch.measurement
        if measurement.measures(update - 1):
            estimate = self._estimate(planner.replicas(planner.plan.clock))
            measurement.tracker.observe(estimate)
            planner.observe(Measured(update, lr, _HUGE**0.5, estimate.variance, 1.0))
        if large_batch.curvature is not None:
            self._flatten(planner.controller, planner.plan.clock)
        if hasattr(scheduler, "auto_warmup"):
            self._judge(scheduler.auto_warmup, update)

    def _flatten(self, controller: Any, clock: Any) -> None:
        """Report an eigenvalue, where one is due, that has dropped far, or not at all."""
        if controller.is_due(clock):
            controller.begin_measurement(clock)
            controller.observe_curvature(self._eigenvalue)
            self._eigenvalue *= _TINY**0.1 if self.is_high else 1.0

    def _estimate(self, replicas: int) -> NoiseScaleEstimate:
        """Return that copies make all of the noise there is, or none of the little there is."""
        if replicas == 1:
            return NoiseScaleEstimate(self.variance, 1.0, tokens=1)
        within = self.variance if self.is_high else 0.0
        variance = self.variance / replicas if self.is_high else self.variance
        return NoiseScaleEstimate(variance, 1.0, 1, within, replicas)

    def _judge(self, auto_warmup: Any, update: int) -> None:
        """End an automatic warm-up as early or as late as it may end."""
        due = auto_warmup.observe(update, 1.0)
        if due is not None:
            lr = auto_warmup.settings.ramp(auto_warmup.seen - 1)
            auto_warmup.accept(due, Verdict(not self.is_high, lr))


def measured_parts(large_batch: Any, scheduler: Any) -> list[str]:
    """Return what of a run is decided by measurements, each as a clause; none if nothing is.

    Args:
        large_batch: of the task, None for a task of others.
        scheduler: of the learning rate.
    """
    parts = []
    if large_batch is not None and large_batch.planner.controller.needs:
        controller = large_batch.planner.controller
        source = "curvature" if "curvature" in controller.needs else "noise of gradients"
        parts.append(f"the batch, by {controller.name}, from the {source}")
    if getattr(scheduler, "needs_measurements", False):
        parts.append("the gain of AdaScale, 1 to kappa times M, from the noise of gradients")
    if str(getattr(scheduler.cfg, "bas_scale_by", "")) == "effective":
        parts.append("what M copies are worth, 1 to M, from how much they differ")
    if hasattr(scheduler, "auto_warmup"):
        parts.append("the end of the warm-up and the peak learning rate, by AutoWU, from the loss")
    return parts
