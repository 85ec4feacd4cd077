"""``--lr-scheduler bas_scaled``: any of fairseq's schedules, scaled to the batch."""

from dataclasses import dataclass, field

from fairseq.optim.lr_scheduler import register_lr_scheduler

from ..batching.planner import UpdatePlan
from ..errors import refuse_with
from .planned_scheduler import PlannedScheduleConfig, PlannedScheduler


@dataclass
class BasScaledConfig(PlannedScheduleConfig):
    """Flags of ``--lr-scheduler bas_scaled``."""

    bas_gradual_warmup: str = field(
        default="0",
        metadata={
            "help": "reach the scaled learning rate gradually, from the reference one on, over so "
            "many updates (500u) or epochs (5e: Goyal et al. 2017); 0 is at once"
        },
    )


@register_lr_scheduler("bas_scaled", dataclass=BasScaledConfig)
class BasScaledScheduler(PlannedScheduler):
    r"""Multiply a base schedule by :math:`1 + (\kappa^p - 1)\min(1, t / t_w)`."""

    name = "bas_scaled"

    def __init__(self, cfg: BasScaledConfig, optimizer):
        super().__init__(cfg, optimizer)
        with refuse_with():
            self._warmup, self._unit = parse_duration(
                cfg.bas_gradual_warmup, "--bas-gradual-warmup"
            )

    def multiplier(self, plan: UpdatePlan, kappa: float) -> float:
        """Return the scaling of this moment of the gradual warm-up."""
        elapsed = plan.clock.updates if self._unit == "u" else plan.clock.epochs
        progress = min(1.0, elapsed / self._warmup) if self._warmup else 1.0
        return 1.0 + (super().multiplier(plan, kappa) - 1.0) * progress


def parse_duration(text: str, flag: str) -> tuple[float, str]:
    """Read a number of updates (``500u``) or epochs (``5e``, ``0.5e``), or ``0``.

    Raises:
        ValueError: one sentence, if it is neither.

    >>> parse_duration("5e", "--bas-gradual-warmup")
    (5.0, 'e')
    """
    unit = text[-1:] if text[-1:] in ("u", "e") else ""
    number = text.removesuffix(unit)
    is_number = number.replace(".", "", 1).isdigit() and number.isascii()
    if not is_number or (not unit and float(number) > 0):
        raise ValueError(
            f"{flag} {text} is no number of updates or epochs; write 500u or 5e, or 0 for none"
        )
    return float(number), unit or "u"
