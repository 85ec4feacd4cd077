"""``--lr-scheduler bas_autowu``: find the learning rate by growing it until the loss rises.

`AutoWarmup` has the state and the learning rates, ``loss_trend`` the test.
"""

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import List

import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II

from ..errors import UserError, refuse_with
from .auto_warmup import AutoWarmup, Due, Verdict
from .auto_warmup_settings import WarmupSettings

logger = logging.getLogger(__name__)

_PATIENCE_WITHOUT_LOSS = 10
_REASONS = {
    "test": "the smoothed loss has passed its minimum",
    "limit": "its longest time is over",
    "broken": "the loss is not finite or has exploded",
}


@dataclass
class BasAutoWUConfig(FairseqDataclass):
    """Flags of ``--lr-scheduler bas_autowu``."""

    bas_autowu_min_lr: float = field(
        default=1e-5,
        metadata={"help": "learning rate of the first update; --lr is the largest one to try"},
    )
    bas_autowu_max_warmup: float = field(
        default=0.5, metadata={"help": "longest warm-up, as a share of --max-update"}
    )
    bas_autowu_every: int = field(
        default=0,
        metadata={
            "help": "updates from one test of the loss to the next; 0: a hundredth of "
            "--max-update, at least 50"
        },
    )
    bas_autowu_patience: int = field(
        default=3, metadata={"help": "tests in a row that must find the loss rising"}
    )
    bas_autowu_decay: ChoiceEnum(["cosine", "constant-cosine", "constant"]) = field(
        default="cosine",
        metadata={
            "help": "what follows the warm-up: cosine to 0, the same in the last fifth of the run "
            "only, or a constant learning rate"
        },
    )
    bas_autowu_choice: ChoiceEnum(["fastest", "lowest"]) = field(
        default="fastest",
        metadata={
            "help": "learning rate that is taken: where the smoothed loss fell fastest after its "
            "first fall, or where it was lowest, as published"
        },
    )
    lr: List[float] = II("optimization.lr")
    max_update: int = II("optimization.max_update")
    seed: int = II("common.seed")


@register_lr_scheduler("bas_autowu", dataclass=BasAutoWUConfig)
class BasAutoWU(FairseqLRScheduler):
    """Set the learning rate of each update as `AutoWarmup` says.

    Whoever runs the updates calls `observe_loss` after each of them, and `step_update` before the
    next: fairseq calls `step_update` as soon as an update is made, when its loss is not known yet.
    """

    def __init__(self, cfg, optimizer):
        super().__init__(cfg, optimizer)
        rates = cfg.lr if isinstance(cfg.lr, Collection) else [cfg.lr]
        if len(rates) != 1:
            raise UserError(
                f"--lr {list(rates)} has several values, but --lr-scheduler bas_autowu finds the "
                "learning rate itself; give the largest one to try"
            )
        with refuse_with("--lr-scheduler bas_autowu"):
            self.auto_warmup = AutoWarmup(
                WarmupSettings(
                    total=int(cfg.max_update or 0),
                    min_lr=cfg.bas_autowu_min_lr,
                    max_lr=rates[0],
                    max_warmup=cfg.bas_autowu_max_warmup,
                    every=cfg.bas_autowu_every,
                    patience=cfg.bas_autowu_patience,
                    decay=str(cfg.bas_autowu_decay),
                    choice=str(cfg.bas_autowu_choice),
                    seed=cfg.seed,
                )
            )
        self._first_update = None  # at which this process began or resumed
        self.step_update(0)

    def observe_loss(self, num_updates: int, loss: float) -> None:
        """Take note of the loss of the update just made, and end the warm-up if it is time.

        All workers must call it for the same updates. The first of them decides and tells the
        others: a fit on another machine may differ in the last bit.

        Args:
            num_updates: updates made, this one counted.
            loss: mean nats per target token of the distinct batch, the same on every worker.
        """
        due = self.auto_warmup.observe(num_updates, loss)
        if due is None:
            return
        verdict = _shared_verdict(self.auto_warmup, due)
        if self.auto_warmup.accept(due, verdict):
            logger.info(
                f"automatic warm-up ends: {_REASONS[due]}; update {num_updates}, "
                f"lr {verdict.lr:.4g}, then {self.auto_warmup.settings.decay}"
            )

    def step_update(self, num_updates: int) -> float:
        """Set and return the learning rate of the next update; nothing else changes.

        Raises:
            UserError: if updates go by and nobody calls `observe_loss`.
        """
        self._require_losses(num_updates)
        lr = self.auto_warmup.lr(num_updates)
        self.optimizer.set_lr(lr)
        return lr

    def _require_losses(self, num_updates: int) -> None:
        if num_updates > 0 and self._first_update is None:
            self._first_update = num_updates
        since = num_updates - (self._first_update or 0)
        unheard = num_updates - max(self.auto_warmup.seen, self._first_update or 0)
        if self.auto_warmup.warming_up and min(since, unheard) > _PATIENCE_WITHOUT_LOSS:
            raise UserError(
                "--lr-scheduler bas_autowu is told no losses; train with --task bas_translation or "
                "bas_language_modeling"
            )

    def state_dict(self) -> dict:
        """Return all that the learning rate depends on, in plain numbers and lists."""
        return {**super().state_dict(), "auto_warmup": self.auto_warmup.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UserError: if it is another scheduler's, or of a warm-up that these flags do not go on.
        """
        if "auto_warmup" not in state_dict:
            raise UserError(
                "the checkpoint was made with another --lr-scheduler than bas_autowu; pass "
                "--reset-lr-scheduler"
            )
        super().load_state_dict(state_dict)
        with refuse_with("--lr-scheduler bas_autowu"):
            self.auto_warmup.load_state_dict(state_dict["auto_warmup"])


def _shared_verdict(auto_warmup: AutoWarmup, due: Due) -> Verdict:
    """Return the verdict of the first worker, on all of them."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return auto_warmup.judge(due)
    answer = [0.0, math.nan]
    if distributed.get_rank() == 0:
        verdict = auto_warmup.judge(due)
        answer = [float(verdict.passed), verdict.lr]
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    sent = torch.tensor(answer, dtype=torch.float64, device=device)
    distributed.broadcast(sent, src=0)
    passed, lr = sent.tolist()
    return Verdict(passed == 1.0, lr)
