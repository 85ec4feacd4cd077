"""Reading of ``name:key=value,key=value,switch``: what a key takes, and what is wrong with it."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .amount import parse_amount, parse_span

FLAG = "--bas-batch-schedule"


@dataclass(frozen=True)
class Key:
    """Describe one key of a schedule.

    Args:
        read: reads a value, raises ValueError with the reason if it cannot; None for a switch,
            which is written without a value and is False if it is not there.
        default: value if the key is not there.
        required: the key must be there.
        meaning: what it says, a clause for those who forgot it.
    """

    read: Callable[[str], Any] | None
    default: Any = None
    required: bool = False
    meaning: str = ""


def number(accepts: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    """Return a reader of finite numbers.

    Args:
        accepts: tells whether a number is in range.
        wanted: the range in words.

    >>> number(lambda value: value > 1, "a number above 1")("1.5")
    1.5
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not accepts(value):
            raise ValueError(f"{text!r} is not {wanted}")
        return value

    return read


def updates(text: str) -> int:
    """Read a number of updates, ``50`` or ``50u``.

    Raises:
        ValueError: a clause with the reason, if ``text`` is anything else or 0.

    >>> updates("50u")
    50
    """
    match = re.fullmatch(r"(\d+)u?", text, re.ASCII)
    if match is None or int(match[1]) < 1:
        raise ValueError(f"{text!r} is not a whole number of updates of at least 1")
    return int(match[1])


def rounding(text: str) -> float:
    """Read ``none`` or ``power2`` as the step of which batches are powers.

    Raises:
        ValueError: a clause with the reason, if ``text`` is anything else.
    """
    steps = {"none": 1.0, "power2": 2.0}
    if text not in steps:
        raise ValueError(f"{text!r} is not {' or '.join(steps)}")
    return steps[text]


def amount(meaning: str, default: str | None = None, required: bool = False) -> Key:
    """Return a key that takes an amount such as ``4x``."""
    return Key(parse_amount, parse_amount(default) if default else None, required, meaning)


def span(meaning: str) -> Key:
    """Return a key that takes a span such as ``5e`` and must be there."""
    return Key(parse_span, None, True, meaning)


def read_options(text: str, keys: Mapping[str, Key]) -> tuple[dict[str, Any], set[str]]:
    """Read ``key=value,key=value,switch``.

    Args:
        text: what follows the name of a schedule and its colon.
        keys: what may be there.

    Returns:
        The value of every key, defaults included, and which keys were written.

    Raises:
        ValueError: a clause with what is wrong.

    >>> keys = {"every": Key(updates, 50), "monotone": Key(None, False)}
    >>> values, written = read_options("monotone", keys)
    >>> values, written
    ({'every': 50, 'monotone': True}, {'monotone'})
    """
    values = {name: key.default for name, key in keys.items()}
    written: set[str] = set()
    for part in text.split(",") if text else []:
        name, value = _read_option(part.strip(), keys)
        if name in written:
            raise ValueError(f"{name} is there twice; write it once")
        values[name] = value
        written.add(name)
    for name, key in keys.items():
        if key.required and name not in written:
            raise ValueError(f"{name} is missing; give {key.meaning}")
    return values, written


def _read_option(part: str, keys: Mapping[str, Key]) -> tuple[str, Any]:
    name, equals, value = part.partition("=")
    key = keys.get(name)
    if key is None:
        raise ValueError(f"there is no key {name!r} here; use {', '.join(keys)}")
    if key.read is None:
        if equals:
            raise ValueError(f"{name} takes no value; write {name} alone or leave it out")
        return name, True
    if not value:
        raise ValueError(f"{name} has no value; give {key.meaning}")
    try:
        return name, key.read(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}; give {key.meaning}") from None
