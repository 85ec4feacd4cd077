"""Batches that change gradually from one size to another, by a power of the time gone by."""

from ..config import Clock
from .amount import Amount, Span
from .bounds import Bounds
from .controller import BatchController
from .decision import Decision


class Ramp(BatchController):
    """Go from one batch to another: B = from + (to - from) · min(1, t / over)^exponent.

    Marian's ``--mini-batch-warmup`` is such a ramp: linear in updates, and with exponent 0.5 in
    target tokens, where it found the linear one to hurt.

    Args:
        start: first batch.
        end: last batch; it may be the smaller one.
        over: time from one to the other.
        exponent: of the time, > 0; above 1 the batch changes late, below 1 early.
        bounds: limits and rounding.
        name: as users write it.

    >>> from fairseq_bas.batching.amount import BaseBatch
    >>> ramp = Ramp(Amount(1), Amount(9), Span(100, "u"), exponent=2)
    >>> ramp.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> [ramp.decide(Clock(updates=u), decay=1.0).multiple for u in (0, 50, 100, 200)]
    [1.0, 3.0, 9.0, 9.0]
    """

    def __init__(
        self,
        start: Amount,
        end: Amount,
        over: Span,
        exponent: float = 1.0,
        bounds: Bounds = Bounds(),  # noqa: B008 - frozen
        name: str = "linear",
    ):
        self.start, self.end, self.over, self.exponent = start, end, over, exponent
        self.bounds = bounds
        self.name = name

    def decide(self, clock: Clock, decay: float) -> Decision:
        """Return the batch at ``clock``."""
        progress = min(1.0, self.over.elapsed(clock)) ** self.exponent
        first, last = self.start.multiple(self.base), self.end.multiple(self.base)
        return Decision(self.bounds.apply(first + (last - first) * progress, self.base))

    def bound(self) -> float:
        """Return the larger one of its two ends."""
        largest = max(self.start.multiple(self.base), self.end.multiple(self.base))
        return self.bounds.apply(largest, self.base)

    def describe(self) -> str:
        """Return the ends, the time and the exponent."""
        power = f", time to the power {self.exponent:g}" if self.exponent != 1 else ""
        limits = f", {self.bounds}" if str(self.bounds) else ""
        return f"{self.name} from {self.start} to {self.end} over {self.over}{power}{limits}"
