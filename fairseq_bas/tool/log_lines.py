r"""Lines of a training log that hold numbers, in either format that fairseq writes to a file.

``--log-format json``::

    DATE | INFO | train_inner | {"epoch": 1, "update": 0.5, "loss": "7.9", "num_updates": "40"}
    DATE | INFO | valid | {"epoch": 1, "valid_loss": "7.9", "valid_num_updates": "40"}

``--log-format simple``, and ``tqdm`` where standard error is no terminal::

    DATE | INFO | train_inner | epoch 001:     40 / 93 loss=7.9, num_updates=40
    DATE | INFO | valid | epoch 001 | valid on 'valid' subset | loss 7.9 | num_updates 40

``train_inner`` comes every ``--log-interval`` updates, ``train`` at the end of an epoch and of the
process, the name of a subset after its validation. ``--log-file`` has them without date and name.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

INNER, EPOCH, LOADED = "train_inner", "train", "loaded"

# The first part takes all it can, so that half a line does not hide the one appended to it.
_LINE = re.compile(r"(.*)\| INFO \| (train_inner|train|valid\w*|test\w*) \| (.*?)\s*", re.DOTALL)
_LOADED = re.compile(r"(.*)Loaded checkpoint .* \(epoch ([0-9]+) @ ([0-9]+) updates\)\s*")
# Looked for at every place, as a date may follow half a date.
_DATE = re.compile(r"(?=([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}))")
_SIMPLE_INNER = re.compile(r"epoch ([0-9]{1,9}):\s+[0-9]+ / [0-9]+ (.*)")
_SIMPLE_END = re.compile(r"epoch ([0-9]{1,9}) \| (?:valid on '([^']*)' subset \| )?(.*)")
_LARGEST = 2**53  # beyond it a float does not count updates


@dataclass(frozen=True)
class Record:
    """The numbers of one line, named without the prefix that JSON gives to some.

    Or, with the tag ``loaded``, the place at which a process resumed.

    Args:
        tag: ``train_inner``, ``train``, ``loaded``, or the name of a validation subset.
        epoch: from 1 on.
        updates: updates before the line.
        values: name -> number, such as ``loss``; NaN and infinity as they were logged.
        time: seconds on the clock of the log, since 1970 as if that were UTC; None without a date.
    """

    tag: str
    epoch: int
    updates: int
    values: dict[str, float]
    time: float | None = None

    @property
    def is_valid(self) -> bool:
        """Tell whether the line is of a validation."""
        return self.tag not in (INNER, EPOCH, LOADED)

    def number(self, key: str, default: float = math.nan) -> float:
        """Return a number of the line, ``default`` where it has none of this name."""
        return self.values.get(key, default)


def parse_line(line: str) -> Record | None:
    """Return the record of a line.

    Args:
        line: a line of a log.

    Returns:
        The record; None if the line has none, or half of one, as where a process was killed.

    Example:
        >>> record = parse_line("D | INFO | valid | epoch 002 | loss 7.5 | num_updates 12")
        >>> record.tag, record.epoch, record.updates, record.number("loss")
        ('valid', 2, 12, 7.5)
    """
    if "Loaded checkpoint" in line and (match := _LOADED.fullmatch(line)):
        return Record(LOADED, int(match[2]), int(match[3]), {}, time_of(match[1]))
    match = _LINE.fullmatch(line)
    try:
        if match:
            found = _numbers(match[2], match[3])
        elif line.startswith(('{"epoch"', "epoch ")):
            found = _numbers("", line.strip())
        else:
            return None
        if found is None:
            return None
        tag, epoch, values = found
        needed = "train_wall" if tag in (INNER, EPOCH) else "loss"
        is_known = needed in values and 0 <= values["num_updates"] < _LARGEST
        if not (is_known and 0 < epoch < _LARGEST):
            return None
        when = time_of(match[1]) if match else None
        return Record(tag, epoch, int(values["num_updates"]), values, when)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None  # a killed process may leave anything


def whole_lines(lines: Iterable[str]) -> Iterator[str]:
    """Leave out a last line that a process is writing or was killed in.

    Args:
        lines: lines with their line feeds.

    Yields:
        Those that end, by a line feed or as JSON does.
    """
    for line in lines:
        if line.endswith(("\n", "}")):
            yield line


def time_of(text: str) -> float | None:
    """Return the last date in a text in seconds since 1970, as if it were UTC.

    Args:
        text: such as the start of a line.

    Returns:
        Seconds; None without a valid date.

    Example:
        >>> time_of("1970-01-02 00:00:01 | INFO"), time_of("1970-99-02 00:00:01")
        (86401.0, None)
    """
    dates = _DATE.findall(text)
    if not dates:
        return None
    try:
        return datetime.fromisoformat(dates[-1] + "+00:00").timestamp()
    except ValueError:
        return None


def _numbers(tag: str, text: str) -> tuple[str, int, dict[str, float]] | None:
    """Return tag, epoch and numbers; the tag is known from the text where ``tag`` is empty."""
    if text.startswith("{"):
        return _from_json(tag, json.loads(text))
    if match := _SIMPLE_INNER.fullmatch(text):
        pairs = [pair.split("=") for pair in match[2].split(", ")]
        # Half a line may end within a number, which would pass for a whole one.
        if "wall" not in pairs[-1][0]:
            return None
        return INNER, int(match[1]), _floats({name: value for name, value in pairs})  # noqa: C416
    if match := _SIMPLE_END.fullmatch(text):
        ended = [pair.strip().rsplit(" ", 1) for pair in match[3].split("|")]
        values = _floats({name.strip(): value for name, value in ended})
        return match[2] or tag or EPOCH, int(match[1]), values
    return None


def _from_json(tag: str, raw: dict[str, Any]) -> tuple[str, int, dict[str, float]]:
    if not tag:
        first = next(key for key in raw if key.endswith("num_updates"))
        tag = first.removesuffix("num_updates").rstrip("_") or INNER
    if tag == INNER:
        return tag, int(raw["epoch"]), _floats(raw)
    prefix = f"{tag}_"
    named = {key.removeprefix(prefix): raw[key] for key in raw if key.startswith(prefix)}
    return tag, int(raw["epoch"]), _floats(named)


def _floats(raw: dict[str, Any]) -> dict[str, float]:
    """Return those values that are numbers, most of them written as text."""
    values = {}
    for name, value in raw.items():
        if isinstance(value, str | int | float) and name not in ("epoch", "update"):
            try:
                values[name] = float(value)
            except (ValueError, OverflowError):
                continue
    return values
