"""What every batch controller is, and what it may be told about an update."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import Clock
from .amount import BaseBatch
from .bounds import Bounds
from .decision import Decision


@dataclass(frozen=True)
class Measured:
    """Hold what an update measured; it is the same on every worker.

    The gradient is that of the loss in nats per target token, before clipping.

    Args:
        update: updates taken, this one included, >= 1.
        lr: learning rate of the update.
        loss: nats per target token, averaged over the distinct batch, or None.
        variance: unbiased estimate of the trace of the covariance of one target token's gradient,
            S, such that the gradient of N tokens has variance S / N; or None.
        squared_gradient: unbiased estimate of the squared norm of the true gradient, |G|²; it can
            be below 0; or None.
    """

    update: int
    lr: float
    loss: float | None = None
    variance: float | None = None
    squared_gradient: float | None = None


class BatchController(ABC):
    """Decide the size of each update.

    A decision is a pure function of the clock, of the decay of the base learning rate and of the
    state, which only ``observe`` changes. So a run that is resumed from a checkpoint with the
    state decides the same.

    Attributes:
        name: as users write it.
        couples_lr: decisions change the learning rate; it needs a scheduler of this plugin.
        follows_decay: decisions depend on the decay.
        needs: what it must be told: ``noise_scale`` and ``loss`` by ``observe``, ``curvature`` by
            ``observe_curvature`` where ``is_due`` (see `absa`).
        extends_update: the controller has ``passes(variance, squared_gradient, tokens)``, and an
            update takes more data until that is true or the update has reached ``bound()``.
        unit: the unit, ``x``, ``s`` or ``kt``, in which updates are filled.
        bounds: limits and rounding of the batch.
    """

    name: str
    couples_lr: bool = False
    follows_decay: bool = False
    needs: frozenset[str] = frozenset()
    extends_update: bool = False
    unit: str = "x"
    bounds: Bounds = Bounds()
    _base: BaseBatch | None = None

    def bind(self, base: BaseBatch) -> None:
        """Take the size of the base batch; called once, before the first decision.

        Raises:
            ValueError: one sentence, if the bounds contradict each other for this base batch.
        """
        self.bounds.limits(base)
        self._base = base

    @property
    def base(self) -> BaseBatch:
        """Return the base batch.

        Raises:
            RuntimeError: if there is none yet.
        """
        if self._base is None:
            raise RuntimeError(f"{self.name} has no base batch; call bind before it decides")
        return self._base

    @abstractmethod
    def decide(self, clock: Clock, decay: float) -> Decision:
        """Return the decision for the next update.

        Args:
            clock: how far training has come.
            decay: learning rate of the base schedule for the next update as a share of its peak so
                far, in [0, 1]; 1 during warm-up.
        """

    @abstractmethod
    def bound(self) -> float:
        """Return the largest multiple it can ever decide; infinite if there is none."""

    @abstractmethod
    def describe(self) -> str:
        """Return one line for the summary of a run."""

    def passes(self, variance: float, squared_gradient: float, tokens: float) -> bool:
        """Tell whether the gradient of so many target tokens is good enough; see `extends_update`.

        Args:
            variance: S, per target token.
            squared_gradient: |G|², the unbiased estimate.
            tokens: target tokens of the batch, > 0.
        """
        return True

    def adversarial_share(self, clock: Clock) -> float | None:
        """Return the share of copies that are adversarial; None if that is not its to say."""
        return None

    def observe(self, measured: Measured) -> None:  # noqa: B027
        """Take what an update measured, after it; most controllers do not care."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, plain numbers; empty if decisions follow from the clock alone."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Take up a state that ``state_dict`` gave."""
