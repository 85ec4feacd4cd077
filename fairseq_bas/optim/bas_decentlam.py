"""``--optimizer bas_decentlam``: momentum SGD whose workers exchange weights with neighbours only.

`decentralised` has the updates, `topology` the weights of neighbours, `DecentralisedSGD` the state.
Gradients are not added up over workers. fairseq multiplies those of each by n / N, with N target
tokens (or sentences) on all n workers: worker i trains on :math:`g_i = n S_i / N`, :math:`S_i` its
sum over its own tokens. So every token weighs the same wherever it is, and the mean of
the :math:`g_i` is the gradient of all-reduce. Each worker clips its own.

Validation and checkpoints see the average over workers, which ``fairseq-generate`` loads too;
``run_hooks`` calls the methods that exchange it with a worker's own weights.
"""

import logging
from dataclasses import dataclass, field
from typing import Any, List

import torch
import torch.distributed as dist
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from fairseq.optim import register_optimizer
from omegaconf import II

from ..errors import UserError, refuse_with
from .bas_whole_weights import first_lr
from .decentralised_checks import BY, check_run, check_task
from .decentralised_sgd import DecentralisedSGD
from .neighbour_exchange import NeighbourExchange, is_broken_connection, lost_workers
from .topology import mixing_matrix, spectral_gap
from .unscaled_step import UnscaledStep

logger = logging.getLogger(__name__)


@dataclass
class BasDecentLaMConfig(FairseqDataclass):
    """Flags of ``--optimizer bas_decentlam``."""

    bas_topology: str = field(
        default="ring",
        metadata={
            "help": "which workers exchange weights: ring, grid (a torus), exponential (at "
            "distances 1, 2, 4, ... on both sides) or full (every two)"
        },
    )
    bas_decentralised: ChoiceEnum(["decentlam", "dmsgd", "allreduce"]) = field(
        default="decentlam",
        metadata={
            "help": "decentlam (no bias by momentum), or for comparison dmsgd (a local momentum "
            "step, then the average with neighbours) or allreduce (plain momentum SGD)"
        },
    )
    bas_decentralised_checkpoint: ChoiceEnum(["workers", "average"]) = field(
        default="workers",
        metadata={
            "help": "besides the average over workers, which is the model, a checkpoint holds the "
            "weights and momentum of all workers, so that a run goes on exactly; with average, "
            "only the average of both, from which all of them go on"
        },
    )
    momentum: float = field(default=0.9, metadata={"help": "momentum factor"})
    weight_decay: float = field(
        default=0.0, metadata={"help": "weight decay", "argparse_alias": "--wd"}
    )
    lr: List[float] = II("optimization.lr")
    distributed_world_size: int = II("distributed_training.distributed_world_size")


@register_optimizer("bas_decentlam", dataclass=BasDecentLaMConfig)
class BasDecentLaM(UnscaledStep):
    """Glue between fairseq and `DecentralisedSGD`; elementwise, so one flat parameter will do."""

    def __init__(self, cfg, params):
        super().__init__(cfg)
        self._hooked = self._described = False
        self._workers = int(cfg.distributed_world_size)
        rule, exchange = str(cfg.bas_decentralised), None
        with refuse_with(BY):
            self._matrix = mixing_matrix(cfg.bas_topology, self._workers)
            if self._workers == 1:
                rule = "allreduce"
            elif rule != "allreduce":
                exchange = NeighbourExchange(self._matrix, dist.get_rank())
            keeps_workers = str(cfg.bas_decentralised_checkpoint) == "workers"
            self._optimizer = DecentralisedSGD(
                params,
                **self.optimizer_config,
                rule=rule,
                exchange=exchange,
                keeps_workers=keeps_workers,
            )

    @property
    def optimizer_config(self):
        """Return what the command line sets of torch's options."""
        return {
            "lr": first_lr(self.cfg),
            "momentum": self.cfg.momentum,
            "weight_decay": self.cfg.weight_decay,
        }

    @property
    def supports_flat_params(self):
        """Return True: the update treats every element alike."""
        return True

    @property
    def is_decentralised(self) -> bool:
        """Tell whether workers have weights of their own."""
        return self._optimizer.exchange is not None

    def describe(self) -> str:
        """Return one line on who exchanges what."""
        if not self.is_decentralised:
            return f"plain momentum SGD, gradients added up over workers: {self._workers}"
        exchange, megabytes = self._optimizer.exchange, 4e-6 * self._optimizer.velocity.numel()
        return (
            f"{self._optimizer.rule} on {self._workers} workers, topology {self.cfg.bas_topology}: "
            f"each sends {megabytes:.3g} MB an update to each neighbour, of which it has "
            f"{len(exchange.neighbours)}; spectral gap {spectral_gap(self._matrix):.3g}"
        )

    # -- moments of the run, called by run_hooks ------------------------------------------------

    def begin_run(self, cfg) -> None:
        """Refuse, once built, what needs equal weights on all workers."""
        if self.is_decentralised:
            with refuse_with():
                check_run(cfg)
        self._hooked = True

    def check_task(self, task) -> None:
        """Refuse a task whose schedules measure what no worker has."""
        if self.is_decentralised:
            with refuse_with():
                check_task(task)

    def before_evaluation(self) -> bool:
        """Put the average over workers into the weights; return whether they changed."""
        return self._optimizer.use_average()

    def before_save(self) -> None:
        """Bring the state of all workers together, as one of them writes the checkpoint."""
        self._optimizer.gather()

    def before_update(self) -> bool:
        """Put this worker's weights back; log how far workers were from each other."""
        if not self._described:
            self._describe()
        if self._optimizer.consensus is not None:
            metrics.log_scalar("bas_consensus", self._optimizer.consensus, weight=0, priority=310)
        return self._optimizer.use_own()

    def shared_norm(self, norm: torch.Tensor) -> torch.Tensor:
        """Return the root mean square over workers of the norm of their gradients.

        fairseq wants one number on all of them; where one is not finite, all must stop.
        """
        if not self.is_decentralised:
            return norm
        squares = torch.as_tensor(norm, device=self._optimizer.velocity.device).double() ** 2
        return self._optimizer.exchange.mean(squares).sqrt().to(norm.dtype)

    def explain_failure(self, error: RuntimeError) -> None:
        """End with one sentence if an error is that of a worker that is gone; else do nothing."""
        if self._workers == 1 or not is_broken_connection(error):
            return
        worker = dist.get_rank()
        lost = lost_workers(worker, self._workers)
        names = f"worker{'s' * (len(lost) > 1)} {', '.join(map(str, lost))}"
        raise UserError(
            f"worker {worker} ends because its connection to {names if lost else 'another worker'} "
            "broke, as when a process is killed or runs out of memory; start all workers again and "
            "they go on from the last checkpoint"
        ) from error

    # -- the update -----------------------------------------------------------------------------

    def all_reduce_grads(self, module) -> None:
        """Leave the gradients of each worker as they are, but for plain momentum SGD."""
        if not self.is_decentralised:
            super().all_reduce_grads(module)

    def step(self, closure=None, scale=1.0, groups=None):
        """Make an update.

        Raises:
            UserError: if something between fairseq and this optimizer hides it from the run.
        """
        if not self._hooked:
            raise UserError(
                f"{BY} is wrapped, as by --use-bmuf, so that it cannot average weights before a "
                "validation; leave the wrapper out"
            )
        super().step(closure, scale, groups)

    def load_state_dict(self, state_dict: Any, optimizer_overrides=None):
        """Take this worker's part of a checkpoint, or go on from the average."""
        with refuse_with():
            is_exact = self._optimizer.load_state_dict(state_dict)
        for group in self.param_groups:
            group.update(optimizer_overrides or {})
        if not is_exact:
            logger.info(
                f"the checkpoint does not have the weights of each of {self._workers} workers; all "
                "of them go on from its average"
            )

    def _describe(self) -> None:
        """Say once, on the first worker, what the run does."""
        self._described = True
        if self._workers == 1:
            logger.warning(f"{BY} has one worker only and so is plain momentum SGD")
        else:
            logger.info(self.describe())
