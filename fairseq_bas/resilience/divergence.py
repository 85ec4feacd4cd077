"""Tell from the losses of a run whether it diverges: a fast average against a slow one."""

import enum
import math
from collections.abc import Mapping
from typing import Any

FAST, SLOW = 10, 100
"""Losses that the averages are of, about: 1 / (1 - beta)."""

FLOOR = 1.0
"""Nats per target token below which the slow average does not count as lower: a loss close to 0,
of a corpus known by heart, may rise to a multiple of itself and mean nothing."""

THRESHOLD = 1.5


class Verdict(enum.Enum):
    """What a loss says about the run."""

    CALM = "calm"
    RESTLESS = "restless"
    EXPLODING = "exploding"
    NOT_FINITE = "not finite"


class DivergenceMonitor:
    r"""Judge the loss of every update by exponential averages of the losses.

    With :math:`\hat f_t` the bias-corrected average of the losses up to :math:`\ell_t` with decay
    1 - 1/10, :math:`\hat s_t` the same with decay 1 - 1/100 (Kingma and Ba 2015, section 3, for the
    correction), and :math:`r_t = \hat f_t / \max(\hat s_{t-1}, 1)`: the loss explodes where
    :math:`r_t` is above the threshold. The slow average is that of before :math:`\ell_t`, so that
    an explosion in the first updates, which both averages would hold alike, is seen too.

    A verdict takes a few updates, so each loss is also said to be calm or restless: calm where
    neither it nor :math:`\hat f_t` is above the slow average by more than half as much as an
    explosion. The weights that a calm loss was measured at may be gone back to.

    A loss that is not finite is not counted into the averages.

    Args:
        threshold: of r, > 1; infinity for verdicts on losses that are not finite only.

    Attributes:
        fast: bias-corrected fast average, nats per target token; None before the first loss.
        slow: the slow one.

    Raises:
        ValueError: if the threshold is out of range.

    >>> monitor = DivergenceMonitor()
    >>> [monitor.observe(loss).value for loss in (9.0, 8.0, 7.0, 8.5, 90.0, float("nan"))]
    ['calm', 'calm', 'calm', 'calm', 'exploding', 'not finite']
    >>> round(monitor.fast, 2), round(monitor.slow, 2), round(monitor.ratio, 2)
    (28.1, 24.83, 3.46)
    """

    def __init__(self, threshold: float = THRESHOLD):
        if not threshold > 1:
            raise ValueError(
                f"--bas-divergence-threshold {threshold:g} would take losses that stay as they are "
                f"for an explosion; give a number above 1, such as {THRESHOLD:g}"
            )
        self.threshold = threshold
        self.restart()

    def restart(self) -> None:
        """Forget the losses, as those to come are of another kind."""
        self._count = 0
        self._sums = (0.0, 0.0)
        self.ratio = 1.0

    @property
    def fast(self) -> float | None:
        """Return the fast average."""
        return self._average(0, FAST)

    @property
    def slow(self) -> float | None:
        """Return the slow average."""
        return self._average(1, SLOW)

    def _average(self, index: int, length: int) -> float | None:
        if self._count == 0:
            return None
        return self._sums[index] / (1 - (1 - 1 / length) ** self._count)

    def observe(self, loss: float) -> Verdict:
        """Take note of the loss of an update and judge it.

        Args:
            loss: mean nats per target token; the same on every worker.
        """
        if not math.isfinite(loss):
            return Verdict.NOT_FINITE
        before = max(loss if self.slow is None else self.slow, FLOOR)
        fast, slow = self._sums
        self._sums = (fast + (loss - fast) / FAST, slow + (loss - slow) / SLOW)
        self._count += 1
        highest = max(loss, self.fast or 0.0)
        self.ratio = (self.fast or 0.0) / before
        if self.ratio > self.threshold:
            return Verdict.EXPLODING
        is_calm = highest <= (1 + self.threshold) / 2 * before
        return Verdict.CALM if is_calm else Verdict.RESTLESS

    def state_dict(self) -> dict[str, Any]:
        """Return the averages as plain numbers."""
        return {"count": self._count, "sums": list(self._sums), "ratio": self.ratio}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` returned; the threshold stays as given."""
        self._count, self.ratio = int(state["count"]), float(state["ratio"])
        fast, slow = state["sums"]
        self._sums = (float(fast), float(slow))
