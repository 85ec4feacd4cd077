"""A loss scale whose whole state can be saved, and which counts overflows."""

from typing import Any

from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler

COUNTERS = ("_iter", "_last_overflow_iter", "_last_rescale_iter", "_overflows_since_rescale")


class ResumableLossScaler(DynamicLossScaler):
    """fairseq's loss scaler with its counters in the checkpoint.

    fairseq saves the scale alone. After a restart its counters begin anew, so that the scale grows
    at other updates than in a run that was not interrupted.

    Attributes:
        overflows: updates that were skipped since the beginning of the run.
    """

    overflows = 0

    @classmethod
    def of(cls, scaler: DynamicLossScaler) -> "ResumableLossScaler":
        """Return one with the settings and the state of ``scaler``."""
        resumable = cls.__new__(cls)
        resumable.__dict__.update(vars(scaler))
        return resumable

    def check_overflow(self, grad_norm: Any) -> None:
        """Lower the scale if the gradient overflowed.

        Args:
            grad_norm: norm of the gradient, a number or a 0-dim tensor.

        Raises:
            OverflowError: if it is not finite, so that the update is to be skipped.
            FloatingPointError: if the scale cannot be lowered any more.
        """
        try:
            super().check_overflow(grad_norm)
        except (OverflowError, FloatingPointError):
            self.overflows += 1
            raise

    def state_dict(self) -> dict[str, Any]:
        """Return the scale, the counters and the number of overflows."""
        counters = {name: getattr(self, name) for name in COUNTERS}
        return {"loss_scale": self.loss_scale, "overflows": self.overflows, **counters}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name, value in state_dict.items():
            setattr(self, name, value)
