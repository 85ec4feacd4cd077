"""``--lr-scheduler bas_legw``: linear-epoch gradual warm-up (You et al. 2019, arXiv 1901.08256)."""

from dataclasses import dataclass, field

from fairseq.optim.lr_scheduler import register_lr_scheduler

from ..config import Clock
from ..errors import refuse_with
from .planned_scheduler import LR_CLOCKS, PlannedScheduleConfig, PlannedScheduler


@dataclass
class BasLEGWConfig(PlannedScheduleConfig):
    """Flags of ``--lr-scheduler bas_legw``."""

    bas_lr_scaling: str = field(
        default="sqrt",
        metadata={
            "help": "exponent of kappa that the peak is multiplied by: none, sqrt, linear, or a "
            "number from 0 to 1"
        },
    )
    bas_lr_clock: LR_CLOCKS = field(
        default="samples",
        metadata={
            "help": "what moves the decay on: samples, so that decays stay at their epochs, or "
            "updates; lengths are in updates of --bas-reference-batch"
        },
    )


@register_lr_scheduler("bas_legw", dataclass=BasLEGWConfig)
class BasLEGWScheduler(PlannedScheduler):
    r"""Warm up over kappa times as many epochs, to a peak :math:`\sqrt\kappa` times as high.

    .. math:: \eta(e) = \sqrt\kappa\,\eta_0\,\min(1, e / (\kappa w_0))\,d(e)

    with the decay d of the base schedule at its own epochs. As an epoch then has kappa times fewer
    updates, the warm-up takes the number of updates of the reference run, ``--warmup-updates``.
    """

    name = "bas_legw"

    def __init__(self, cfg: BasLEGWConfig, optimizer):
        super().__init__(cfg, optimizer)
        with refuse_with():
            if self.base.warmup_updates < 1:
                raise ValueError(
                    "--lr-scheduler bas_legw is a rule about warm-up, and there is none; pass the "
                    "--warmup-updates of the reference run, as in --warmup-updates 4000"
                )

    def base_clock(self, clock: Clock) -> float:
        """Return the updates made during the warm-up, and those of the base's clock after it."""
        if clock.updates < self.base.warmup_updates:
            return clock.updates
        return max(self.base.warmup_updates, super().base_clock(clock))
