"""Axes: from values to places, with ticks at round numbers and their labels."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Scale:
    """Map values in [low, high] to [0, 1].

    Args:
        low: value at 0.
        high: value at 1, > low.
        log: whether equal factors are equally long; then low > 0.

    Example:
        >>> Scale(1.0, 100.0, log=True).place(10.0), Scale(0.0, 4.0).ticks(4)
        (0.5, [0.0, 1.0, 2.0, 3.0, 4.0])
    """

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return the place of a value, in [0, 1] for those between the ends."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        """Tell whether a value has a place: it is finite, and positive on a log scale."""
        return math.isfinite(value) and (not self.log or value > 0)

    def ticks(self, most: int) -> list[float]:
        """Return round values between the ends.

        Args:
            most: about how many.
        """
        if self.log and self.high / self.low >= 10:
            return _log_ticks(self.low, self.high, most)
        step = _round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [(first + index) * step for index in range(count)]


def scale_for(values: Iterable[float], log: bool = False, zero: bool = False) -> Scale:
    """Return a scale that holds values, with a little room.

    Args:
        values: those that are not finite, or not positive on a log scale, do not count.
        log: as in `Scale`; ignored where no value is positive.
        zero: begin at 0.

    Returns:
        The scale; of 0 to 1 without values.

    Example:
        >>> scale_for([0.0, 10.0], zero=True)
        Scale(low=0.0, high=10.3, log=False)
    """
    finite = [value for value in values if math.isfinite(value) and abs(value) < 1e300]
    finite = [value if abs(value) > 1e-300 else 0.0 for value in finite]
    positive = [value for value in finite if value > 0]
    if log and positive:
        low, high = min(positive), max(positive)
        if high / low < 1.0001:
            return Scale(low / 2, high * 2, log=True)
        room = (high / low) ** 0.04
        return Scale(low / room, high * room, log=True)
    if not finite:
        return Scale(0.0, 1.0)
    low, high = min(finite), max(finite)
    if zero and low >= 0:
        return Scale(0.0, high * 1.03 or 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(high) * 0.1 or 1.0
    else:
        room = (high - low) * 0.04
    return Scale(low - room, high + room)


def short_number(value: float, digits: int = 4) -> str:
    """Return a number as a reader wants it.

    Args:
        value: any.
        digits: significant ones.

    Example:
        >>> [short_number(value) for value in (0.0, 1500.0, 2.5e6, 0.25, 3.2e-5, float("nan"))]
        ['0', '1.5k', '2.5M', '0.25', '3.2e-05', 'nan']
    """
    if not math.isfinite(value):
        return str(value)
    for size, prefix in _PREFIXES:
        if abs(value) >= size and abs(value) < 1e15:
            return f"{value / size:.{digits}g}{prefix}"
    return f"{value:.{digits}g}"


def tick_labels(ticks: list[float]) -> list[str]:
    """Return labels that tell ticks apart, with as few digits as that takes.

    Args:
        ticks: values.

    Example:
        >>> tick_labels([10000.0, 10500.0, 11000.0])
        ['10k', '10.5k', '11k']
    """
    for digits in range(3, 12):
        labels = [short_number(tick, digits) for tick in ticks]
        exact = all(
            math.isclose(_value(label), tick, rel_tol=1e-6, abs_tol=1e-300)
            for label, tick in zip(labels, ticks, strict=True)
        )
        if exact:
            break
    return labels


def _value(label: str) -> float:
    for size, prefix in _PREFIXES:
        if label.endswith(prefix):
            return float(label[:-1]) * size
    return float(label)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in _STEPS if factor * power >= step * (1 - 1e-9))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten, every so many or with round values between, as many as fit."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, math.ceil((last - first) / most))
    choices = [(1, 2, 5), (1, 3), (1,)] if stride == 1 else [(1,)]
    for factors in choices:
        ticks = [
            factor * 10.0**power for power in range(first, last + 1, stride) for factor in factors
        ]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            break
    return inside
