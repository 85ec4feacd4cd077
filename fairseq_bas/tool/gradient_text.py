"""Numbers and intervals in the reports on gradients, as text and for JSON."""

import math
from textwrap import wrap

from ..measure.jackknife import Interval

WIDTH = 100


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits that count; whole from a thousand on.

    >>> [number(value) for value in (12345.6, 0.12345, 3.0, math.inf, None)]
    ['12,346', '0.123', '3', 'inf', '?']
    """
    if value is None:
        return "?"
    if not math.isfinite(value):
        return "inf"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def span(interval: Interval, scale: float = 1.0, digits: int = 3) -> str:
    """Return an estimate with its interval.

    >>> span(Interval(0.5, 0.25, math.inf), scale=2)
    '1 (0.5 to inf)'
    """
    value = None if interval.value is None else interval.value * scale
    low, high = (number(end * scale, digits) for end in (interval.low, interval.high))
    return f"{number(value, digits)} ({low} to {high})"


def paragraph(text: str) -> list[str]:
    """Return a text as lines."""
    return wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def described(interval: Interval, scale: float = 1.0) -> dict[str, float | None]:
    """Return an interval for JSON, which has no infinity: what is not bounded is null."""
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {
        name: end * scale if end is not None and math.isfinite(end) else None
        for name, end in ends.items()
    }
