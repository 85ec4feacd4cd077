"""``--optimizer bas_nt_asgd``: SGD whose checkpoints hold averaged weights once it has converged.

`NTASGD` has the mathematics. While it averages, the model holds the raw iterate during updates
and the average during validation and in the ``model`` of checkpoints, which is what
``fairseq-generate`` and ``fairseq-eval-lm`` load; ``run_hooks`` calls the methods that exchange
them.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import List

from fairseq.dataclass import FairseqDataclass
from fairseq.optim import register_optimizer
from omegaconf import II

from ..errors import UserError, refuse_with
from .nt_asgd import NTASGD
from .unscaled_step import UnscaledStep

logger = logging.getLogger(__name__)


@dataclass
class BasNTASGDConfig(FairseqDataclass):
    """Flags of ``--optimizer bas_nt_asgd``."""

    bas_nonmono: int = field(
        default=5,
        metadata={
            "help": "start averaging the weights when a validation is worse than the best one, "
            "this many latest ones left out"
        },
    )
    bas_average_now: bool = field(
        default=False,
        metadata={
            "help": "average the weights from the first update on, as in the fine-tuning of "
            "AWD-LSTM; on resume, from there on"
        },
    )
    bas_average_power: float = field(
        default=0.0,
        metadata={
            "help": "late iterates count more: iterate i of the average as i to this power, so "
            "that about the last 1/(1 + power) of them matter; 0 is the plain mean"
        },
    )
    weight_decay: float = field(
        default=0.0, metadata={"help": "weight decay", "argparse_alias": "--wd"}
    )
    lr: List[float] = II("optimization.lr")


@register_optimizer("bas_nt_asgd", dataclass=BasNTASGDConfig)
class BasNTASGD(UnscaledStep):
    """Glue between fairseq and `NTASGD`; elementwise, so that it may get one flat parameter."""

    def __init__(self, cfg, params):
        super().__init__(cfg)
        self._hooked = False
        with refuse_with("--optimizer bas_nt_asgd"):
            self._optimizer = NTASGD(
                params,
                **self.optimizer_config,
                nonmono=cfg.bas_nonmono,
                average_now=cfg.bas_average_now,
                average_power=cfg.bas_average_power,
            )

    @property
    def optimizer_config(self):
        """Return what the command line sets of torch's options."""
        lr = self.cfg.lr[0] if isinstance(self.cfg.lr, Collection) else self.cfg.lr
        return {"lr": lr, "weight_decay": self.cfg.weight_decay}

    @property
    def supports_flat_params(self):
        """Return True: the update and the mean treat every element alike."""
        return True

    def begin_run(self, cfg) -> None:
        """Refuse, once built, a run in which weights or state are not where the average needs them.

        Args:
            cfg: fairseq's config of the run.

        Raises:
            UserError: if weights or optimizer state are split between workers.
        """
        split = {
            "--zero-sharding os": cfg.distributed_training.zero_sharding == "os",
            "--ddp-backend fully_sharded": cfg.distributed_training.ddp_backend == "fully_sharded",
        }
        for flag, is_given in split.items():
            if is_given:
                raise UserError(
                    f"{flag} splits what --optimizer bas_nt_asgd averages between workers; leave "
                    "it out"
                )
        self._hooked = True

    def observe_validation(self, loss: float, maximize: bool) -> None:
        """Take note of a validation's result; larger is better where ``maximize``."""
        self._optimizer.observe(loss, maximize)

    def before_evaluation(self) -> bool:
        """Put the average, if there is one, into the weights; return whether they changed."""
        return self._optimizer.use_average()

    def before_update(self) -> bool:
        """Put the iterate back into the weights; return whether they changed."""
        return self._optimizer.use_iterate()

    def step(self, closure=None, scale=1.0, groups=None):
        """Make an update.

        Raises:
            UserError: if something between fairseq and this optimizer hides it from the run.
        """
        if not self._hooked:
            raise UserError(
                "--optimizer bas_nt_asgd is wrapped, as by --use-bmuf, so that it learns of no "
                "validation; leave the wrapper out"
            )
        if self._optimizer.averaging and self._optimizer.count == 0:
            validations = len(self._optimizer.history)
            logger.info(f"averaging of weights starts with this update ({validations=})")
        super().step(closure, scale, groups)
