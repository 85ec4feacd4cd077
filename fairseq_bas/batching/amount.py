"""How large a batch is (``4x``, ``256s``, ``8kt``) and how long a time is (``5e``, ``2000u``)."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..config import UNITS, Clock

BATCH_UNITS = {
    "x": "times the plain batch",
    "s": "sentences",
    "kt": "thousand target tokens",
}
_NUMBER = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True)
class BaseBatch:
    """Hold the mean size of an update of fairseq's own flags, that is of 1x.

    It is what ``--max-tokens`` or ``--batch-size`` times ``--update-freq`` times the number of
    workers gives. Copies of a sentence do not count.

    Args:
        sentences: distinct sentences, > 0.
        target_tokens: distinct target tokens, > 0.
        updates_per_epoch: how many such updates an epoch has; no batch can be larger than that
            multiple. Infinite if it is not known.
        grain: smallest step between batches, as a multiple: one micro-batch of every worker. 0 for
            none.
    """

    sentences: float
    target_tokens: float
    updates_per_epoch: float = math.inf
    grain: float = 0.0

    def __str__(self) -> str:
        return f"{self.sentences:.6g} sentences and {self.target_tokens:.6g} target tokens"


@dataclass(frozen=True)
class Amount:
    """Hold the size of a batch in a unit; ``unit`` is a key of ``BATCH_UNITS``."""

    value: float
    unit: str = "x"

    def multiple(self, base: BaseBatch) -> float:
        """Return how many base batches this is.

        >>> base = BaseBatch(sentences=64, target_tokens=2000)
        >>> [parse_amount(text).multiple(base) for text in ("4x", "256s", "8kt")]
        [4.0, 4.0, 4.0]
        """
        size = {"x": 1.0, "s": base.sentences, "kt": base.target_tokens / 1000}
        return self.value / size[self.unit]

    def __str__(self) -> str:
        return f"{self.value:.10g}{self.unit}"


@dataclass(frozen=True)
class Span:
    """Hold a length of training; ``unit`` is a key of ``config.UNITS``."""

    length: int
    unit: str

    def elapsed(self, clock: Clock) -> float:
        """Return how often this span has gone by since the start, a fraction included.

        >>> [Span(4, unit).elapsed(Clock(updates=6, epochs=3, target_tokens=9000)) for unit in
        ...  ("u", "e", "kt")]
        [1.5, 0.75, 2.25]
        """
        now = {
            "u": clock.updates,
            "e": clock.epochs,
            "s": clock.sentences,
            "kt": clock.target_tokens / 1000,
        }
        return now[self.unit] / self.length

    def __str__(self) -> str:
        return f"{self.length}{self.unit}"


def parse_amount(text: str) -> Amount:
    """Read an amount such as ``4x``, ``256s`` or ``8kt``; a bare number is in ``x``.

    Raises:
        ValueError: a clause with the reason, if ``text`` is anything else or 0.

    >>> str(parse_amount("4")), str(parse_amount("0.5kt"))
    ('4x', '0.5kt')
    """
    match = re.fullmatch(_NUMBER + "(x|s|kt|)", text, re.ASCII)
    if match is None or not 0 < float(match[1]) < math.inf:
        units = ", ".join(f"{unit} ({name})" for unit, name in BATCH_UNITS.items())
        raise ValueError(f"{text!r} is not a number above 0 with a unit of {units}")
    return Amount(float(match[1]), match[2] or "x")


def parse_span(text: str) -> Span:
    """Read a span such as ``2000u``, ``5e``, ``100000s`` or ``500kt``.

    Raises:
        ValueError: a clause with the reason, if ``text`` is anything else or 0.

    >>> parse_span("500kt")
    Span(length=500, unit='kt')
    """
    match = re.fullmatch(r"(\d+)(u|e|s|kt)", text, re.ASCII)
    if match is None or int(match[1]) < 1:
        units = ", ".join(f"{unit} ({name})" for unit, name in UNITS.items())
        raise ValueError(f"{text!r} is not a whole number of at least 1 with a unit of {units}")
    return Span(int(match[1]), match[2])


def common_unit(amounts: Iterable[Amount]) -> str:
    """Return the unit of all these amounts, or ``x`` if they differ or there are none.

    >>> common_unit([Amount(8, "kt"), Amount(64, "kt")]), common_unit([Amount(8, "kt"), Amount(4)])
    ('kt', 'x')
    """
    units = {amount.unit for amount in amounts}
    return units.pop() if len(units) == 1 else "x"
