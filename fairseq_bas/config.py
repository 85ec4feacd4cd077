"""The one parser of schedules, and the clocks they are read on.

A schedule is written ``value@clock,value@clock,...``: ``1@0,2@5e,4@20000u`` is 1 from the start, 2
after five epochs and 4 after 20,000 updates. A bare value holds throughout.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

UNITS = {
    "u": "updates",
    "e": "epochs",
    "s": "sentences",
    "kt": "thousand target tokens",
}

Value = TypeVar("Value", int, float)


@dataclass(frozen=True)
class Clock:
    """Say how far training has come, in every unit a schedule may use.

    Args:
        updates: optimizer steps taken, >= 0.
        epochs: epochs completed, >= 0; of fairseq's epoch 1 half is 0.5.
        sentences: distinct sentences seen by all workers, >= 0.
        target_tokens: distinct target tokens seen by all workers, >= 0.
    """

    updates: int = 0
    epochs: float = 0
    sentences: int = 0
    target_tokens: int = 0

    def reached(self, start: int, unit: str) -> bool:
        """Tell whether ``start`` (in ``unit``, a key of ``UNITS``) lies at or before this clock.

        >>> Clock(updates=7).reached(7, "u"), Clock(target_tokens=1999).reached(2, "kt")
        (True, False)
        """
        now = {
            "u": self.updates,
            "e": self.epochs,
            "s": self.sentences,
            "kt": self.target_tokens // 1000,
        }
        return now[unit] >= start


@dataclass(frozen=True)
class Step(Generic[Value]):
    """Hold one ``value@clock`` of a schedule; ``unit`` is a key of ``UNITS``."""

    value: Value
    start: int
    unit: str

    def __str__(self) -> str:
        return f"{self.value}@{self.start}{self.unit if self.start else ''}"


@dataclass(frozen=True)
class Schedule(Generic[Value]):
    """Give a value for every clock: that of the last step written whose start has been reached.

    It is a pure function of the clock, so a resumed run reads the same values as an uninterrupted
    one.

    >>> schedule = parse_schedule("1@0,2@5e,4@20000u", flag="--bas-replicas")
    >>> [schedule.at(Clock(updates=u, epochs=e)) for u, e in [(0, 0), (900, 5), (20000, 9)]]
    [1, 2, 4]
    """

    steps: tuple[Step[Value], ...]

    def at(self, clock: Clock) -> Value:
        """Return the value that holds at ``clock``."""
        return next(s.value for s in reversed(self.steps) if clock.reached(s.start, s.unit))

    @property
    def values(self) -> tuple[Value, ...]:
        """Return all values, in the order written."""
        return tuple(step.value for step in self.steps)

    def __str__(self) -> str:
        if len(self.steps) == 1:
            return str(self.steps[0].value)
        return ",".join(map(str, self.steps))


def positive_int(text: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        ValueError: if ``text`` is anything else.
    """
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def parse_schedule(
    text: str,
    flag: str,
    value: Callable[[str], Value] = positive_int,
    units: Sequence[str] = tuple(UNITS),
) -> Schedule[Value]:
    """Parse ``value@clock,value@clock,...`` or a bare value.

    Args:
        text: what the user wrote.
        flag: the flag it was written for, to be named in errors.
        value: reads one value, raises ValueError with the reason if it cannot.
        units: the units that this flag can be scheduled on.

    Returns:
        The schedule; its first step starts at 0 and starts grow within each unit.

    Raises:
        ValueError: one sentence with the flag, what is wrong and a correct example.

    >>> str(parse_schedule(" 4 ", flag="--bas-replicas"))
    '4'
    >>> parse_schedule("2@9u", flag="--bas-replicas")
    Traceback (most recent call last):
    ValueError: --bas-replicas 2@9u: the first step starts at 9u; start it at 0, as in 1@0,4@2e
    """
    try:
        steps = tuple(_parse_step(part.strip(), value, units) for part in text.split(","))
        _check_order(steps)
    except ValueError as error:
        raise ValueError(f"{flag} {text}: {error}, as in 1@0,4@2e") from None
    return Schedule(steps)


def _parse_step(part: str, value: Callable[[str], Value], units: Sequence[str]) -> Step[Value]:
    written, at, clock = part.partition("@")
    if not at:
        return Step(_read_value(written, value), 0, units[0])
    digits = clock.rstrip("".join(sorted(set("".join(UNITS)))))
    unit = clock[len(digits) :]
    allowed = ", ".join(f"{u} ({UNITS[u]})" for u in units)
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"the clock {clock!r} is not a whole number; write a number and a unit")
    if not unit and int(digits) == 0:
        unit = units[0]
    if unit not in units:
        raise ValueError(f"the clock {clock!r} has no unit of this flag; use one of {allowed}")
    return Step(_read_value(written, value), int(digits), unit)


def _read_value(text: str, value: Callable[[str], Value]) -> Value:
    try:
        return value(text)
    except ValueError as error:
        raise ValueError(f"{error}; write a value or a schedule") from None


def _check_order(steps: Sequence[Step[Value]]) -> None:
    first = steps[0]
    if first.start != 0:
        raise ValueError(f"the first step starts at {first.start}{first.unit}; start it at 0")
    latest: dict[str, int] = dict.fromkeys(UNITS, 0)
    for step in steps[1:]:
        if step.start <= latest[step.unit]:
            raise ValueError(
                f"the step {step} does not start after the one before it; write the steps in order"
            )
        latest[step.unit] = step.start
