"""The large-batch side of a run: the planner of updates, the schedule of the learning rate that
follows it, and the measurements both may need, brought together with fairseq's trainer.

All decisions follow from what every worker knows: the sizes of all micro-batches, the number of
updates, and sums that fairseq adds up over workers.
"""

import logging

import torch
import torch.distributed as dist
from fairseq.logging import metrics

from ..batching.controller import Measured
from ..batching.planner import UpdatePlanner
from ..batching.policy import parse_batch_schedule
from ..errors import refuse_with
from ..run_hooks import inner_optimizer
from .batch_checks import (
    check_adversarial,
    check_alone,
    check_backend,
    check_passes,
    reference_batch,
)
from .curvature import Curvature
from .early_reader import EarlyReader, mean_loss
from .followed_lr import FollowedLr
from .gradient_measurement import GradientMeasurement

logger = logging.getLogger(__name__)
MOMENTS = ("bas_micro", "bas_weight", "bas_square", "bas_within")


class LargeBatch:
    """Plan the updates of a run and carry the plans out.

    Args:
        cfg: the task's flags.
        replica_plan: the ``ReplicaPlan``.

    Raises:
        ValueError: one sentence, if the flags of batch schedules contradict each other.
    """

    def __init__(self, cfg, replica_plan):
        self.is_scheduled = cfg.bas_batch_schedule is not None
        self.says_kappa = self.is_scheduled or cfg.bas_reference_batch is not None
        controller = parse_batch_schedule(cfg.bas_batch_schedule or "1x")
        self.planner = UpdatePlanner(controller, reference_batch(cfg.bas_reference_batch))
        self.planner.replicas = lambda clock: replica_plan.at(clock).replicas
        self.replica_plan = replica_plan
        self.measurement = GradientMeasurement(cfg.bas_measure_every)
        if "noise_scale" in controller.needs:
            every = 1 if controller.extends_update else None
            self.measurement.require(f"--bas-batch-schedule {controller.name}", every)
        needs_curvature = "curvature" in controller.needs
        self.curvature = Curvature(controller) if needs_curvature else None
        self.reader = EarlyReader()
        self.learning_rate = FollowedLr(self.planner, self.measurement)
        self._trainer = None
        self._max_tokens = cfg.bas_max_tokens_per_pass
        self._readers = 1
        self._is_alone = False
        self._warned = False
        if self.is_scheduled:
            check_alone(cfg)
        check_passes(cfg, controller, replica_plan)
        check_adversarial(cfg, controller)

    # -- before training ----------------------------------------------------------------------

    def attach_iterator(self, iterator, base):
        """Let the planner group the micro-batches of the training iterator."""
        with refuse_with():
            self.planner.bind(base)
        self._readers = iterator.num_shards
        if self._max_tokens is not None and iterator.merger is None:
            iterator.merge_passes(self._max_tokens)
        iterator.planner = self.planner
        if self.curvature is not None:
            self.curvature.attach_iterator(iterator)
        iterator.companions["planner"] = self.planner
        iterator.companions["measurement"] = self.measurement

    def begin_run(self, task, trainer):
        """Connect with fairseq's trainer; it may build its optimizer, and so call this, twice."""
        self._trainer = trainer
        self.planner.num_updates = trainer.get_num_updates
        if self.planner.extends_updates:
            with refuse_with():
                check_backend(trainer.cfg.distributed_training)
            parameters = list(trainer.get_model().parameters())
            self.planner.measured_so_far = lambda: self.measurement.so_far(parameters)
        if self.curvature is not None:
            with refuse_with():
                self.curvature.begin_run(task, trainer)
        self.learning_rate.begin_run(task, trainer)

    def attach_scheduler(self, scheduler):
        """Take the schedule of the learning rate, or refuse it.

        Raises:
            ValueError: one sentence, if it cannot work with the batch schedule.
        """
        scheduler.check(self.planner.controller)
        by_effect = str(getattr(scheduler.cfg, "bas_scale_by", "")) == "effective"
        if getattr(scheduler, "needs_measurements", False) or by_effect:
            flag = "--bas-scale-by effective" if by_effect else f"--lr-scheduler {scheduler.name}"
            self.measurement.require(flag)

    @property
    def scheduler(self):
        """Return the schedule of the learning rate, None before training."""
        return self.learning_rate.scheduler

    # -- what schedules ask -------------------------------------------------------------------

    def effective_factor(self):
        """Return how many times its size the planned batch is worth with its copies."""
        return self.measurement.effective_factor(self._replicas)

    def gain(self, kappa):
        """Return AdaScale's gain of a batch of kappa times the reference."""
        planner = self.planner
        reference = planner.base.target_tokens / planner.kappa_of_base
        return self.measurement.gain(kappa, reference, self._replicas)

    @property
    def _replicas(self):
        return self.planner.replicas(self.planner.plan.clock)

    # -- one update ---------------------------------------------------------------------------

    def before_update(self, trainer, micro_batches):
        """Set what follows from the plan of the next update: learning rate, averages, probes.

        Args:
            trainer: fairseq's.
            micro_batches: that this worker has for it.
        """
        self._is_alone = micro_batches * self._readers == 1
        update_num = trainer.get_num_updates()
        self.measurement.begin_update(update_num, trainer.get_model().parameters())
        if self.measurement.active:
            self.measurement.loss_scale = _loss_scale(trainer.optimizer)
        self.learning_rate.before_update(trainer)

    def parts(self, sample):
        """Return the parts that a micro-batch is to be run in."""
        if not (self.measurement.active and self._is_alone):
            return [sample]
        return self.measurement.halves(sample, self._trainer.task.target_dictionary.pad())

    def placement(self, placement, keeps_rows):
        """Return where the copies run in this update; where it is measured, in several passes."""
        return self.measurement.placement(placement, keeps_rows)

    def clip_norm(self, clip_norm):
        """Return the norm to clip the gradient of this update at; its logs are complete."""
        self.reader.mark()
        return self.learning_rate.clip_norm(clip_norm)

    def observe_gradient_norm(self, norm):
        """Take the norm of the whole gradient of a measured update, before it was clipped.

        All workers take the first one's, as decisions must not hang on the last bit.
        """
        if not self.measurement.active:
            return
        norm = torch.as_tensor(norm, dtype=torch.float64).clone()
        if dist.is_available() and dist.is_initialized():
            device = norm.device if dist.get_backend() != "nccl" else torch.device("cuda")
            norm = norm.to(device)
            dist.broadcast(norm, src=0)
        self.measurement.gradient_norm = float(norm)

    def after_update(self, logs):
        """Learn from an update that was made, and log it.

        Args:
            logs: the logging outputs of all micro-batches and workers.
        """
        if self._trainer is None:
            return
        trainer, planner = self._trainer, self.planner
        replicas = self._replicas
        if self.measurement.active:
            self._observe_gradients(logs, replicas)
            self._warn_if_unmeasured()
        loss = mean_loss(logs, self.reader.numbers)
        latest = self.measurement.latest
        planner.observe(
            Measured(
                trainer.get_num_updates(),
                self.learning_rate.used,
                loss,
                latest.variance if latest else None,
                latest.squared_gradient if latest else None,
            )
        )
        if self.curvature is not None:
            self.curvature.after_update(planner)
        self._log(replicas)
        self.learning_rate.after_update(trainer, loss)

    def _observe_gradients(self, logs, replicas):
        sums = {key: sum(float(log[key]) for log in logs) for key in MOMENTS if key in logs[0]}
        sharing = self.replica_plan.workers
        self.measurement.observe(sums, replicas, self.measurement.passes, sharing)

    def _warn_if_unmeasured(self):
        """Say once if the first measured update could tell nothing about its gradient."""
        if self._warned or self.measurement.latest is not None:
            return
        self._warned = True
        logger.warning(
            "the gradient noise scale cannot be told from this update: it has one micro-batch that "
            "cannot be divided, or its copies are on several workers in one pass each; pass a "
            "larger --update-freq, or --bas-replicas-per-pass"
        )

    def _log(self, replicas):
        plan, tracker = self.planner.plan, self.measurement.tracker
        self.learning_rate.log()
        values = {"kappa": plan.kappa} if self.says_kappa else {}
        if tracker.noise_scale is not None:
            values["noise_scale"] = tracker.noise_scale
        if replicas > 1 and tracker.effective_factor(replicas) is not None:
            values["effective_batch"] = plan.target_tokens * tracker.effective_factor(replicas)
        if self.curvature is not None and self.curvature.latest is not None:
            values["curvature"] = self.curvature.latest
        for source in (self.scheduler, inner_optimizer(self._trainer)):
            values.update(getattr(source, "metrics", dict)())
        for name, value in values.items():
            metrics.log_scalar(f"bas_{name}", value, weight=0, priority=310, round=4)


def _loss_scale(optimizer):
    """Return what half precision multiplies the loss by; torch's scaler waits for the device."""
    scaler = getattr(optimizer, "scaler", None)
    if hasattr(scaler, "get_scale"):
        return float(scaler.get_scale())
    return float(getattr(scaler, "loss_scale", 1.0))
