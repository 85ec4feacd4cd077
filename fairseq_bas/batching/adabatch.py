"""AdaBatch: at fixed intervals the batch is multiplied, and the learning rate with it."""

import math

from ..config import Clock
from .amount import Span
from .bounds import Bounds
from .controller import BatchController
from .decision import Decision

PUBLISHED_DECAY = 0.375
"""Decay of the fixed-batch baseline at each interval; with a batch that doubles, lr times 0.75."""


class AdaBatch(BatchController):
    """Multiply batch and learning rate at each interval (Devarakonda et al. 2017, 1712.02029).

    Where a baseline of fixed batch decays its learning rate by a, AdaBatch multiplies the batch by
    b and the learning rate by a' = a·b: the learning rate per batch follows the baseline. Where
    the batch meets its maximum or an epoch and grows by less than b, so does the learning rate:
    after k intervals

        lr factor = (a' / b)^k · B,   B = min(b^k, maximum).

    That is a rule for stochastic gradient descent; for Adam, Seesaw is.

    Args:
        factor: b, > 1.
        every: the interval.
        decay: a', in (0, b].
        bounds: limits and rounding; the minimum must be that of the start, 1x.

    >>> from fairseq_bas.batching.amount import Amount, BaseBatch
    >>> controller = AdaBatch(2.0, Span(5, "e"), 0.75, Bounds(Amount(1), Amount(4)))
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> [controller.decide(Clock(epochs=e), 1.0) for e in (4, 5)]
    [Decision(multiple=1.0, lr_factor=1.0), Decision(multiple=2.0, lr_factor=0.75)]
    >>> controller.decide(Clock(epochs=15), 1.0)  # (0.75 / 2)^3 · 4
    Decision(multiple=4.0, lr_factor=0.2109375)
    """

    name = "adabatch"
    couples_lr = True

    def __init__(self, factor: float, every: Span, decay: float, bounds: Bounds):
        self.factor, self.every, self.decay = factor, every, decay
        self.bounds = bounds

    def decide(self, clock: Clock, decay: float) -> Decision:
        """Return batch and learning rate after the intervals that have gone by."""
        intervals = math.floor(self.every.elapsed(clock))
        try:
            grown = self.factor**intervals
        except OverflowError:
            grown = math.inf
        multiple = self.bounds.apply(grown, self.base)
        return Decision(multiple, (self.decay / self.factor) ** intervals * multiple)

    def bound(self) -> float:
        """Return the maximum."""
        return self.bounds.top(self.base)

    def describe(self) -> str:
        """Return the two factors, the interval and the bounds."""
        return (
            f"adabatch: every {self.every} batch times {self.factor:g} and lr times "
            f"{self.decay:g}, {self.bounds}, then lr times {self.decay / self.factor:g}"
        )
