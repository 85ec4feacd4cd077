"""How large a batch may be, in which steps, and how fast a measured one may move."""

import math
from dataclasses import dataclass

from .amount import Amount, BaseBatch
from .options import FLAG

_ROUND_OFF = 1e-9


def power_below(value: float, step: float) -> float:
    """Return the largest power of ``step`` that is not above ``value``; ``value`` if step is 1.

    Args:
        value: >= 0; it may be infinite.
        step: >= 1.

    >>> [power_below(value, 2) for value in (0.7, 1, 7.9, 8)]
    [0.5, 1.0, 4.0, 8.0]
    """
    if step == 1 or not 0 < value < math.inf:
        return value
    # 1 / 0.1**3 is a little less than 1000 and must still count as the third power of 10.
    return float(step) ** math.floor(math.log(value) / math.log(step) + _ROUND_OFF)


@dataclass(frozen=True)
class Bounds:
    """Keep a batch within limits; the limits come after the rounding.

    Args:
        minimum: the smallest batch, or None.
        maximum: the largest batch, or None. A batch never exceeds an epoch in any case.
        step: batches are rounded down to powers of it times the base batch; 1 for no rounding.

    Raises:
        ValueError: a clause with the reason, if the maximum is below the minimum.
    """

    minimum: Amount | None = None
    maximum: Amount | None = None
    step: float = 1.0

    def __post_init__(self) -> None:
        low, high = self.minimum, self.maximum
        if low and high and low.unit == high.unit and high.value < low.value:
            raise ValueError(f"max={high} is below the smallest batch of {low}; raise it")

    def limits(self, base: BaseBatch) -> tuple[float, float]:
        """Return the smallest and the largest batch as multiples of the base batch.

        Raises:
            ValueError: one sentence, if the maximum turns out to be below the minimum.
        """
        low = self.minimum.multiple(base) if self.minimum else 0.0
        high = self.maximum.multiple(base) if self.maximum else math.inf
        if high < low:
            raise ValueError(
                f"{FLAG}: max={self.maximum} is {high:.3g}x the plain batch of {base}, below the "
                f"smallest batch of {self.minimum}; raise it"
            )
        high = min(high, base.updates_per_epoch)
        return min(low, high), high

    def apply(self, multiple: float, base: BaseBatch) -> float:
        """Return ``multiple``, rounded down to what an update can be, within the limits.

        At least one micro-batch of every worker is an update, even beyond the limits.

        >>> Bounds(Amount(3), Amount(24), step=2).apply(13, BaseBatch(64, 2000))
        8.0
        >>> Bounds().apply(1.4, BaseBatch(64, 2000, grain=0.25))
        1.25
        """
        low, high = self.limits(base)
        bounded = max(low, power_below(min(multiple, high), self.step))
        if base.grain == 0 or math.isinf(bounded):
            return bounded
        return base.grain * max(1, math.floor(bounded / base.grain + _ROUND_OFF))

    def top(self, base: BaseBatch) -> float:
        """Return the largest multiple that ``apply`` can give."""
        return self.apply(math.inf, base)

    def __str__(self) -> str:
        parts = [f"at least {self.minimum}"] * (self.minimum is not None)
        parts += [f"at most {self.maximum}"] * (self.maximum is not None)
        parts += [f"in powers of {self.step:g}"] * (self.step != 1)
        return ", ".join(parts)


@dataclass(frozen=True)
class Pace:
    """Say how often and how far a batch may follow what was measured (hysteresis).

    Args:
        every: updates between two decisions, >= 1.
        change: a decision that changes the batch by a smaller share, up or down, is not taken;
            >= 0.
        limit: largest factor by which one decision may change the batch, > 1; it may be infinite.
        monotone: the batch never shrinks.
    """

    every: int = 1
    change: float = 0.0
    limit: float = math.inf
    monotone: bool = False

    def follow(self, current: float, wanted: float, bounds: Bounds, base: BaseBatch) -> float:
        """Return the next batch as a multiple of the base batch.

        Args:
            current: the present multiple, > 0.
            wanted: the measured one, >= 0; it may be infinite.
            bounds: limits and rounding of the result.
            base: size of the base batch.

        >>> base, pace = BaseBatch(64, 2000), Pace(change=0.2, limit=2)
        >>> [pace.follow(4, wanted, Bounds(), base) for wanted in (4.7, 4.9, 9, 3.4, 3.3, 1)]
        [4, 4.9, 8, 4, 3.3, 2.0]
        """
        reached = min(max(wanted, current / self.limit), current * self.limit)
        following = bounds.apply(reached, base)
        if self.monotone and following < current:
            return current
        ratio = max(following / current, current / following) if following > 0 else math.inf
        return following if ratio >= 1 + self.change else current

    def __str__(self) -> str:
        parts = [f"a decision every {self.every} updates" if self.every > 1 else ""]
        parts += [f"by {self.change:.0%} or more" if self.change else ""]
        parts += [f"by a factor of at most {self.limit:g}" if self.limit < math.inf else ""]
        parts += ["growing only" if self.monotone else ""]
        return ", ".join(filter(None, parts))
