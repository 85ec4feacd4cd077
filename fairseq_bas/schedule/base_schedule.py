"""The decay that a large-batch schedule stands on: one of fairseq's, read at any clock."""

from dataclasses import dataclass, field, fields
from typing import List, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY, LR_SCHEDULER_REGISTRY
from omegaconf import II

BASE_SCHEDULES = ChoiceEnum(["fixed", "inverse_sqrt", "polynomial_decay", "cosine", "step"])


@dataclass
class BaseScheduleConfig(FairseqDataclass):
    """Hold the flags of fairseq's own schedules under their own names.

    So a command line keeps them when its ``--lr-scheduler NAME`` becomes
    ``--lr-scheduler bas_scaled --bas-base-schedule NAME``.
    """

    bas_base_schedule: BASE_SCHEDULES = field(
        default="fixed",
        metadata={
            "help": "fairseq's schedule of the learning rate that this one is made of; its flags "
            "have fairseq's names and the meaning that they have at the reference batch"
        },
    )
    warmup_updates: int = field(
        default=0, metadata={"help": "warm the learning rate up over the first N updates"}
    )
    warmup_init_lr: float = field(
        default=-1, metadata={"help": "learning rate to start the warm-up from"}
    )
    total_num_update: Optional[float] = field(
        default=None,
        metadata={"help": "polynomial_decay: length of the schedule (default: --max-update)"},
    )
    end_learning_rate: float = field(
        default=0.0, metadata={"help": "polynomial_decay: learning rate to decay to"}
    )
    power: float = field(default=1.0, metadata={"help": "polynomial_decay: exponent"})
    min_lr: float = field(default=0.0, metadata={"help": "cosine, step: smallest learning rate"})
    t_mult: float = field(
        default=1.0, metadata={"help": "cosine: factor that every period is longer by"}
    )
    lr_period_updates: float = field(
        default=-1,
        metadata={"help": "cosine: length of the first period (default: --max-update)"},
    )
    lr_shrink: float = field(
        default=0.1, metadata={"help": "cosine: factor that every period is lower by"}
    )
    lr_deacy_period: int = field(
        default=25000, metadata={"help": "step: updates between decays (fairseq's spelling)"}
    )
    lr_decay: float = field(default=0.5, metadata={"help": "step: factor of each decay"})
    max_update: int = II("optimization.max_update")
    lr: List[float] = II("optimization.lr")


class BaseSchedule:
    """Read one of fairseq's schedules at any number of updates, whole or not.

    Args:
        cfg: the flags.
        optimizer: fairseq's; its learning rate stays as it is.

    Raises:
        ValueError: one sentence, for flags that this schedule cannot have.
    """

    def __init__(self, cfg: BaseScheduleConfig, optimizer):
        name = str(cfg.bas_base_schedule)
        self.length = cfg.total_num_update or cfg.max_update
        _check(cfg, name, self.length)
        flags = LR_SCHEDULER_DATACLASS_REGISTRY[name]
        values = {f.name: getattr(cfg, f.name) for f in fields(flags) if hasattr(cfg, f.name)}
        if name == "fixed":
            values["lr_shrink"] = 1.0
        if name == "polynomial_decay":
            values["total_num_update"] = self.length
        self.peak = cfg.lr[0]
        self.warmup_updates = cfg.warmup_updates
        self._optimizer = optimizer
        self._scheduler = LR_SCHEDULER_REGISTRY[name](flags(**values), optimizer)

    def at(self, updates: float) -> float:
        """Return the learning rate after ``updates`` updates of the reference batch."""
        before = self._optimizer.get_lr()
        learning_rate = float(self._scheduler.step_update(updates))
        self._optimizer.set_lr(before)  # fairseq's schedules set what they return
        return learning_rate

    def decay(self, updates: float) -> float:
        """Return the learning rate as a share of its peak, 1 while it is being warmed up."""
        if updates < self.warmup_updates:
            return 1.0
        return min(1.0, self.at(updates) / self.peak)


def _check(cfg, name, length):
    if len(cfg.lr) > 1:
        raise ValueError(
            f"--lr {','.join(map(str, cfg.lr))} is a list, and --bas-base-schedule {name} starts "
            "from one value; pass one"
        )
    if name == "inverse_sqrt" and cfg.warmup_updates < 1:
        raise ValueError(
            "--bas-base-schedule inverse_sqrt decays from the end of a warm-up on and has none; "
            "pass --warmup-updates, as in --warmup-updates 4000"
        )
    if name == "polynomial_decay" and not length > cfg.warmup_updates:
        raise ValueError(
            f"--bas-base-schedule polynomial_decay ends after {length:g} updates, "
            f"not after its warm-up of {cfg.warmup_updates}; pass a larger --total-num-update"
        )
    if name == "cosine" and cfg.lr_period_updates <= 0 and not cfg.max_update > cfg.warmup_updates:
        raise ValueError(
            "--bas-base-schedule cosine has no length; pass --lr-period-updates, or a "
            "--max-update beyond --warmup-updates"
        )
