"""What the controllers share that follow measurements: smoothing, pace and state."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from ..config import Clock
from .bounds import Bounds, Pace
from .controller import BatchController, Measured
from .decision import Decision


class SmoothedRatio:
    """Estimate a ratio of two means by the ratio of two exponential moving averages.

    The average of ratios would be far too high where the denominator is noisy. Both averages start
    at 0 together, so the bias of the start cancels.

    Args:
        smoothing: weight of the past, in [0, 1).

    >>> ratio = SmoothedRatio(smoothing=0.5)
    >>> ratio.add(6, 1), ratio.add(6, 2)
    (None, None)
    >>> ratio.value  # (6 · 0.25 + 6 · 0.5) / (1 · 0.25 + 2 · 0.5)
    3.6
    """

    def __init__(self, smoothing: float):
        self.smoothing = smoothing
        self.numerator = self.denominator = 0.0

    def add(self, numerator: float, denominator: float) -> None:
        """Take one more pair; both are finite."""
        new = 1 - self.smoothing
        self.numerator = self.smoothing * self.numerator + new * numerator
        self.denominator = self.smoothing * self.denominator + new * denominator

    @property
    def value(self) -> float:
        """Return the ratio, 0 if the numerator is not above 0, else infinite if it alone is."""
        if self.numerator <= 0:
            return 0.0
        return self.numerator / self.denominator if self.denominator > 0 else math.inf


class MeasuredController(BatchController):
    """Follow the ratio of two measurements at a stated pace.

    The first batch is the base batch, within the bounds. An update that did not measure all that
    is needed, or not a finite number (an overflow in half precision), is passed over.

    Args:
        bounds: limits and rounding.
        pace: how often and how far the batch may move.
        smoothing: weight of the past in the moving averages, in [0, 1).
    """

    needs = frozenset({"noise_scale"})

    def __init__(self, bounds: Bounds, pace: Pace, smoothing: float):
        self.bounds, self.pace = bounds, pace
        self.ratio = SmoothedRatio(smoothing)
        self._multiple = 1.0
        self._decided_at = 0

    @abstractmethod
    def terms(self, measured: Measured) -> tuple[float | None, float | None]:
        """Return numerator and denominator of the ratio to be smoothed."""

    @abstractmethod
    def wanted(self, ratio: float, current: float, measured: Measured) -> float:
        """Return the multiple to move to, from the smoothed ratio and the present multiple."""

    @property
    def multiple(self) -> float:
        """Return the present multiple of the base batch."""
        return self.bounds.apply(self._multiple, self.base)

    def observe(self, measured: Measured) -> None:
        """Smooth the measurements and, if a decision is due, decide the next batch."""
        numerator, denominator = self.terms(measured)
        if numerator is None or denominator is None:
            return
        if not (math.isfinite(numerator) and math.isfinite(denominator)):
            return
        self.ratio.add(numerator, denominator)
        if measured.update - self._decided_at < self.pace.every:
            return
        self._decided_at = measured.update
        current = self.multiple
        wanted = self.wanted(self.ratio.value, current, measured)
        self._multiple = self.pace.follow(current, wanted, self.bounds, self.base)

    def decide(self, clock: Clock, decay: float) -> Decision:
        """Return the batch that the last due measurement has led to."""
        return Decision(self.multiple)

    def bound(self) -> float:
        """Return the maximum."""
        return self.bounds.top(self.base)

    def state_dict(self) -> dict[str, Any]:
        """Return the moving averages, the multiple and when it was decided."""
        return {
            "numerator": self.ratio.numerator,
            "denominator": self.ratio.denominator,
            "multiple": self._multiple,
            "decided_at": self._decided_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that ``state_dict`` gave.

        Raises:
            ValueError: one sentence, if it is the state of another kind of controller.
        """
        missing = [key for key in self.state_dict() if key not in state]
        if missing:
            raise ValueError(
                f"the checkpoint holds no {missing[0]} of the batch schedule {self.name}; resume "
                "with the schedule it was trained with, or pass --reset-lr-scheduler"
            )
        self.ratio.numerator = float(state["numerator"])
        self.ratio.denominator = float(state["denominator"])
        self._multiple = float(state["multiple"])
        self._decided_at = int(state["decided_at"])

    def describe(self) -> str:
        """Return what is measured, the bounds and the pace."""
        return ", ".join(
            filter(None, (f"{self.name}: {self.aim}", str(self.bounds), str(self.pace)))
        )

    @property
    @abstractmethod
    def aim(self) -> str:
        """Return what the batch is made to be, in a few words."""
