"""Watch over the loss and the gradient of a run, and act where they say that it diverges.

All that decides is known to all workers alike: the loss is fairseq's sum over them, the norm that
of the gradient they share. Overflow in half precision, which the loss scaler answers by leaving an
update out, never reaches the guard; only the smallest scale does.
"""

import logging
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq.logging import metrics

from ..errors import UserError, refuse_with
from .agreement import first_worker_decides, is_first, told_by_first
from .divergence import FAST, SLOW, DivergenceMonitor, Verdict
from .divergence_flags import check_checkpoints, check_flags
from .divergence_report import Text, write_report
from .learning_rate_factor import LearningRateFactor
from .recent_updates import RecentUpdates, at_hand
from .restarted_run import RolledBack, stop_loading
from .rollback import go_back

logger = logging.getLogger(__name__)


class DivergenceGuard:
    """Judge every update of a run; warn, stop, or roll the run back.

    Its state is in checkpoints, as a companion of the training iterator.

    Args:
        cfg: the flags, a ``DivergenceConfig``.
        text_of: gives the text of a training sentence by its id, by side.

    Attributes:
        epoch: of the updates, from 1.
        epoch_iterator: of training, whose loading ends when the run is rolled back.

    Raises:
        ValueError: one sentence, if a flag is out of range or has no meaning.
    """

    def __init__(self, cfg: Any, text_of: Callable[[int], Text]):
        self.policy = str(cfg.bas_on_divergence)
        self.factor, self.limit = check_flags(cfg)
        self.monitor = DivergenceMonitor(cfg.bas_divergence_threshold)
        self.recent = RecentUpdates()
        self.epoch = 1
        self.epoch_iterator: Any = None
        self._text_of = text_of
        self._trainer: Any = None
        self._rate: LearningRateFactor | None = None
        self._targets: list[int] = []
        self._calm_until = -1
        self._kind: list[Any] = []
        self._searched = False
        self._warned_at = -SLOW
        self._verdict: Verdict | None = None

    # -- what the task tells ------------------------------------------------------------------

    def begin_run(self, trainer: Any) -> None:
        """Get to know the trainer, whose optimizer and scheduler are new.

        Raises:
            UserError: if there will be nothing to roll back to.
        """
        if self.policy == "rollback":
            with refuse_with():
                check_checkpoints(trainer.cfg.checkpoint, trainer.checkpoint_suffix)
        self._trainer = trainer
        self._rate = LearningRateFactor(trainer.lr_scheduler)
        trainer._lr_scheduler = self._rate

    def begin_update(self) -> None:
        """Take note that an update begins."""
        trainer = self._trainer
        self.recent.begin(trainer.get_num_updates() + 1, float(trainer.get_lr() or 0.0))

    def observe_gradient_norm(self, norm: Any) -> None:
        """Take the norm of the gradient before it was clipped."""
        if self.recent.latest is not None:
            self.recent.latest.gradient_norm = at_hand(norm)

    def observe_loss(self, loss: float | None, kind: list[Hashable], searching: bool) -> None:
        """Judge the loss of an update that was made.

        Args:
            loss: mean nats per target token over all workers; None if it is not known.
            kind: what the loss depends on besides the weights, as plain values; where it changes,
                the averages begin anew.
            searching: the schedule was looking for the learning rate at which the loss explodes;
                the next loss, of the weights that this update made, is not judged either.
        """
        if self._trainer is None or self.recent.latest is None:
            return
        self.recent.latest.loss = loss
        if self._rate is not None and self._rate.factor != 1.0:
            metrics.log_scalar("bas_lr_factor", self._rate.factor, weight=0, priority=305)
        of_search, self._searched = searching or self._searched, searching
        if kind != self._kind or of_search:
            self.monitor.restart()
            self._kind = kind
        verdict = Verdict.CALM
        if loss is not None and not of_search:
            verdict = self.monitor.observe(loss)
        if verdict is Verdict.CALM:
            # This loss is that of the weights before the update.
            self._calm_until = self._trainer.get_num_updates() - 1
        elif verdict is not Verdict.RESTLESS:
            self._verdict = verdict

    # -- what the trainer tells ---------------------------------------------------------------

    def failure(self, error: Exception) -> str | None:
        """Say what an error in an update means; None if it is about something else."""
        if isinstance(error, FloatingPointError) and "inimum loss scale" in str(error):
            least = self._trainer.cfg.common.min_loss_scale
            return (
                f"its gradient overflows at the smallest loss scale, --min-loss-scale {least:g} "
                "(--bf16 has the range of float32)"
            )
        norm = None if self.recent.latest is None else self.recent.latest.gradient_norm
        if norm is None or self._trainer.cfg.common.amp or _is_finite(norm):
            return None
        return "its gradient is not finite"

    def after_update(self) -> None:
        """Act on the loss of the update that was made."""
        verdict, self._verdict = self._verdict, None
        if verdict is None:
            return
        update = self._trainer.get_num_updates()
        if verdict is Verdict.NOT_FINITE:
            reason = "its loss is not finite"
        else:
            reason = (
                f"its loss explodes, {self.monitor.fast:.4g} nats per target token over about "
                f"{FAST} updates, {self.monitor.ratio:.3g} times that over about {SLOW}"
            )
        if self.policy != "warn":
            self.act(reason, update)
        elif update - self._warned_at >= SLOW:
            self._warned_at = update
            logger.warning(self._describe(reason, update) + "; the run goes on")

    def act(self, reason: str, update: int) -> None:
        """Stop the run or roll it back.

        Raises:
            UserError: in any case; a ``RolledBack`` if the run is to begin again.
        """
        said = self._describe(reason, update)
        cure = "; go on from a checkpoint with a lower --lr or --clip-norm"
        if self.policy != "rollback":
            cure += ", or pass --bas-on-divergence rollback"
        elif len(self._targets) >= self.limit:
            cure = (
                f"; it was rolled back {len(self._targets)} times before (--bas-rollbacks)" + cure
            )
        else:
            is_done, what = first_worker_decides(self._trainer, self._go_back)
            stop_loading(self.epoch_iterator)
            if is_done:
                if is_first():
                    logger.warning(f"{said}; {what}")
                raise told_by_first(RolledBack(f"{said}; {what}; start the same command to go on"))
            cure = f"; {what}{cure}"
        raise told_by_first(UserError(said + cure))

    def _go_back(self) -> list[Any]:
        factor = self.factor * (1.0 if self._rate is None else self._rate.factor)
        folder = Path(self._trainer.cfg.checkpoint.save_dir)
        return go_back(folder, self._calm_until, self._targets, factor)

    def _describe(self, reason: str, update: int) -> str:
        """Write the report; return the reason and where the report is."""
        monitor = self.monitor
        facts = {
            "update": update,
            "epoch": self.epoch,
            "reason": reason,
            "fast": monitor.fast,
            "slow": monitor.slow,
            "ratio": monitor.ratio,
            "threshold": monitor.threshold,
            "rolled_back_to": list(self._targets),
            "learning_rate_factor": 1.0 if self._rate is None else self._rate.factor,
        }
        cfg = self._trainer.cfg
        together = not cfg.optimization.use_bmuf  # whose workers have gradients of their own
        path = write_report(cfg.checkpoint.save_dir, facts, self.recent, self._text_of, together)
        where = "" if path is None else f"; its sentences are in {path}"
        return f"update {update}: {reason}{where}"

    # -- checkpoints --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "monitor": self.monitor.state_dict(),
            "targets": list(self._targets),
            "calm_until": self._calm_until,
            "kind": list(self._kind),
            "searched": self._searched,
            "warned_at": self._warned_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` returned, or of a run without a guard the targets alone."""
        self._targets = list(state["targets"])
        if "monitor" in state:
            self.monitor.load_state_dict(state["monitor"])
            self._calm_until = state["calm_until"]
            self._kind = list(state["kind"])
            self._searched = state.get("searched", False)
            self._warned_at = state["warned_at"]


def _is_finite(norm: Any) -> bool:
    return bool(torch.isfinite(torch.as_tensor(norm)).all())
