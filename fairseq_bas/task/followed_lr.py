"""The schedule of the learning rate, as far as it follows the batch.

fairseq's own schedules know nothing of the batch and stay as they are; those of this package have a
``rule`` by which rate, averages and clipping go with it, or learn from losses.
"""

from fairseq.logging import metrics

from ..errors import refuse_with


class FollowedLr:
    """Bring a schedule of the learning rate together with the plan of the batch.

    Args:
        planner: the ``UpdatePlanner``.
        measurement: the ``GradientMeasurement``.

    Attributes:
        scheduler: fairseq's, None before training.
        used: the learning rate of the latest update.
    """

    def __init__(self, planner, measurement):
        self.scheduler = None
        self.used = 0.0
        self._planner, self._measurement = planner, measurement
        self._base_ema_decay = None

    def begin_run(self, task, trainer):
        """Take the trainer's schedule; refuse one that cannot do what the batch schedule needs."""
        self.scheduler = trainer.lr_scheduler
        controller = self._planner.controller
        if hasattr(self.scheduler, "begin_run"):
            self.scheduler.begin_run(task)
        elif controller.couples_lr or controller.follows_decay:
            with refuse_with():
                raise ValueError(
                    f"--bas-batch-schedule {controller.name} moves the learning rate together with "
                    "the batch, which needs one of this plugin's schedules; pass --lr-scheduler "
                    "bas_scaled, with --bas-base-schedule for the one you have"
                )

    def before_update(self, trainer):
        """Set the learning rate of the next update, and the decay of averages that goes with it."""
        if hasattr(self.scheduler, "kappa") or hasattr(self.scheduler, "observe_loss"):
            trainer.lr_step_update()
        self.used = trainer.get_lr()
        rule = getattr(self.scheduler, "rule", None)
        if rule is not None and trainer.cfg.ema.store_ema:
            if self._base_ema_decay is None:
                self._base_ema_decay = trainer.cfg.ema.ema_decay
            kappa = self.scheduler.kappa(self._planner.plan)
            trainer.ema.config.ema_decay = rule.ema_decay(self._base_ema_decay, kappa)

    def clip_norm(self, clip_norm):
        """Return the norm to clip the gradient of this update at, from that of the reference."""
        rule = getattr(self.scheduler, "rule", None)
        if rule is None or clip_norm <= 0:
            return clip_norm
        tracker, planner = self._measurement.tracker, self._planner
        noise_to_signal = None
        if tracker.noise_scale is not None:
            reference = planner.base.target_tokens / planner.kappa_of_base
            noise_to_signal = tracker.noise_scale / reference
        return rule.clip_norm(clip_norm, self.scheduler.kappa(planner.plan), noise_to_signal)

    def after_update(self, trainer, loss):
        """Let the schedule learn from an update, and end the run where it says so.

        Args:
            trainer: fairseq's.
            loss: nats per target token, None where none is known.
        """
        if hasattr(self.scheduler, "observe_update"):
            self.scheduler.observe_update()
        if hasattr(self.scheduler, "observe_loss") and loss is not None:
            self.scheduler.observe_loss(trainer.get_num_updates(), loss)
        if getattr(self.scheduler, "finished", False):
            trainer.cfg.optimization.max_update = trainer.get_num_updates()

    def log(self):
        """Log the rate that was used; fairseq logs that of the next update, not yet planned."""
        if hasattr(self.scheduler, "kappa"):
            metrics.log_scalar("lr", self.used, weight=0, priority=300)
