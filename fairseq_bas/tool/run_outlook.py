"""When an unfinished run will end, as far as its flags and its speed tell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .log_lines import EPOCH, LOADED, Record
from .run_events import RunText


@dataclass(frozen=True)
class Outlook:
    """Say how far a run is.

    Args:
        updates: at which it will end; None if the flags do not tell.
        seconds: that it still needs after its last line; None if unknown.
    """

    updates: int | None
    seconds: float | None


def outlook_of(text: RunText, records: Sequence[Record]) -> Outlook:
    """Predict the end of a run from the speed of its last process, pauses for validation included.

    Args:
        text: what the log tells.
        records: its lines with numbers, without those that were trained anew.

    Returns:
        The outlook: nothing is known without ``--max-update`` and ``--max-epoch``.

    Example:
        >>> records = [Record("train_inner", 1, 30, {}, 100.0)]
        >>> outlook_of(RunText(flags={"max_update": 40}, started=40.0, ended=100.0), records)
        Outlook(updates=40, seconds=20.0)
    """
    done = max((record.updates for record in records), default=0)
    total = total_updates(text.flags, records)
    timed = [record.time for record in records if record.updates == done and record.time]
    trained = done - text.started_updates
    if total is None or text.started is None or not timed or trained <= 0:
        return Outlook(total, None)
    pace = (timed[-1] - text.started) / trained
    return Outlook(total, max(0.0, pace * (total - done)))


def total_updates(flags: Mapping[str, Any], records: Sequence[Record]) -> int | None:
    """Return after how many updates a run ends, None if that cannot be told.

    Args:
        flags: with ``max_update`` and ``max_epoch``, 0 for none.
        records: lines of the run; epochs to come count as long as the last whole one.
    """
    ends = []
    if _number(flags.get("max_update")) > 0:
        ends.append(int(_number(flags["max_update"])))
    whole = _ends_of_epochs(records)
    if _number(flags.get("max_epoch")) > 0 and whole:
        epoch, updates = whole[-1]
        before = whole[-2] if len(whole) > 1 else (0, 0)
        length = (updates - before[1]) / max(1, epoch - before[0])
        ends.append(math.ceil(updates + length * (_number(flags["max_epoch"]) - epoch)))
    return min(ends, default=None)


def _ends_of_epochs(records: Sequence[Record]) -> list[tuple[int, int]]:
    """Return epoch and updates of epochs that have ended: a later one was begun, or logged."""
    ends = [(record.epoch, record.updates) for record in records if record.tag == EPOCH]
    begun = max((record.epoch for record in records if record.tag != LOADED), default=0)
    return [end for end in ends if end[0] < begun] or ends


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
