r"""Reading of the log of a training run: validation losses, target tokens seen, training time.

fairseq writes with ``--log-format json`` lines such as
``DATE | INFO | valid | {"epoch": 1, "valid_loss": "7.9", "valid_num_updates": "40", ...}``:
``valid`` after a validation, ``train_inner`` every ``--log-interval`` updates, ``train`` at the end
of an epoch and of the process. Other lines, half a line where a process was killed, and what a
resumed run has since repeated are passed over.

Time is the sum of ``train_wall``, the seconds spent in updates, without validation, saving and
start. Its meter begins anew after each line and is in the checkpoint, so the first line of a
resumed run holds the whole interval, and updates that were lost and repeated count once. Only at
the start of an epoch do resumed meters begin anew. The other candidate, ``wall``, forgets what was
before a resumption, and stays 0 after one within an epoch, where it is loaded but not restarted
(``fairseq/trainer.py``, ``load_checkpoint``; ``StopwatchMeter`` in ``fairseq/logging/meters.py``).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .learning_curve import Progress, RunLog, ValidPoint

__all__ = ["Progress", "RunLog", "ValidPoint", "parse_run_log", "read_run_log"]

# The first part takes all it can, so that half a line does not hide the one appended to it.
_RECORD = re.compile(r".*\| INFO \| (train_inner|train|valid) \| (\{.*\})\s*")
_LOADED = re.compile(r".*Loaded checkpoint .* \(epoch ([0-9]+) @ ([0-9]+) updates\)\s*")
_KEYS = (
    *("loss", "nll_loss", "ppl", "num_updates"),
    *("train_wall", "wpb", "bas_wpb", "bas_replicas"),
)
# Lines on the same update, in the order in which fairseq writes them.
_ORDER = ("train_inner", "valid", "train", "loaded")


def read_run_log(path: str) -> RunLog:
    """Read the log of a run that was trained with ``--log-format json``.

    Args:
        path: what all processes of the run wrote, one after the other, from its first update on.

    Returns:
        What it tells.

    Raises:
        ValueError: if the file cannot be read, holds no line of training or validation, or does
            not begin with the first epoch.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse_run_log(file)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_run_log(lines: Iterable[str]) -> RunLog:
    """Take validations and progress from the lines of a log.

    Args:
        lines: lines in the order in which they were written.

    Returns:
        What they tell.

    Raises:
        ValueError: if none of them is of training or validation, or the first is not of epoch 1.

    Example:
        >>> log = parse_run_log([
        ...     'D | INFO | train_inner | {"epoch": 1, "wpb": "50", "bas_replicas": "2", '
        ...     '"bas_wpb": "100", "num_updates": "10", "train_wall": "30"}',
        ...     'D | INFO | valid | {"epoch": 1, "valid_loss": "7.9", "valid_num_updates": "10"}',
        ... ])
        >>> log.updates, log.total.tokens, log.train_minutes, log.valid[0].loss, log.replicas
        (10, 500.0, 0.5, 7.9, 2.0)
    """
    everything = _latest(record for line in lines if (record := _parse(line)))
    records = [record for record in everything if record.tag != "loaded"]
    if not records:
        raise ValueError(
            "no line of training or validation is in this log; pass --log-format json to "
            "fairseq-train and wait for the first one"
        )
    if records[0].epoch > 1:
        raise ValueError(
            f"this log begins in epoch {records[0].epoch}; put the logs of all processes of the "
            "run into one file, the first one first"
        )
    training = [record for record in records if record.tag != "valid"]
    return RunLog(
        valid=tuple(record.valid_point() for record in records if record.tag == "valid"),
        progress=tuple(_add_up(everything)),
        replicas=training[-1].number("bas_replicas", 1.0) if training else 1.0,
    )


@dataclass(frozen=True)
class _Record:
    """One JSON line, its keys without the prefix that ``train`` and ``valid`` lines have.

    Or, with the tag ``loaded``, the place at which a process resumed.
    """

    tag: str
    epoch: int
    updates: int
    values: dict[str, float]

    def number(self, key: str, default: float = float("nan")) -> float:
        return self.values.get(key, default)

    def valid_point(self) -> ValidPoint:
        loss = self.values["loss"]
        return ValidPoint(self.updates, loss, self.number("nll_loss", loss), self.number("ppl"))


def _parse(line: str) -> _Record | None:
    """Return the record of a line, None if it has none or not a whole one."""
    if match := _LOADED.fullmatch(line):
        return _Record("loaded", int(match[1]), int(match[2]), {})
    match = _RECORD.fullmatch(line)
    if not match:
        return None
    tag = match[1]
    needed = "loss" if tag == "valid" else "train_wall"
    prefix = "" if tag == "train_inner" else f"{tag}_"
    try:
        raw: dict[str, Any] = json.loads(match[2])
        wanted = {key: raw[prefix + key] for key in _KEYS if prefix + key in raw}
        values = {key: float(value) for key, value in wanted.items()}
        if needed in values:
            return _Record(tag, int(raw["epoch"]), int(values["num_updates"]), values)
    except (ValueError, TypeError, KeyError, OverflowError):
        pass  # a killed process may leave anything
    return None


def _latest(records: Iterable[_Record]) -> list[_Record]:
    """Return the records in the order of their updates, without those that were trained anew."""
    kept: dict[tuple[str, int], _Record] = {}
    last = 0
    for record in records:
        if record.updates < last:  # resumed from an earlier checkpoint: what came after it is void
            kept = {key: old for key, old in kept.items() if old.updates <= record.updates}
        last = record.updates
        # A process that stops within an epoch logs the epoch so far, the next one all of it.
        key = (record.tag, record.epoch if record.tag == "train" else record.updates)
        kept.pop(key, None)
        kept[key] = record
    return sorted(kept.values(), key=lambda record: (record.updates, _ORDER.index(record.tag)))


def _add_up(records: Iterable[_Record]) -> list[Progress]:
    """Sum ``train_inner`` intervals, and epochs, which give the total where one has ended."""
    points = [Progress(0, 0.0, 0.0, 0.0)]
    interval_end = epoch_end = points[0]
    epoch = 0
    for record in records:
        if record.tag == "loaded" and record.updates == epoch_end.updates and record.epoch > epoch:
            interval_end = epoch_end
        if record.tag in ("valid", "loaded"):
            continue
        if record.tag == "train_inner":
            point = interval_end = _advance(interval_end, record)
        elif record.epoch == epoch + 1:
            point = epoch_end = _advance(epoch_end, record)
        else:  # the line of an epoch before is lost: take those since for equally long
            epochs = max(1, record.epoch - epoch)
            length = max(1, record.updates - epoch_end.updates) / epochs
            share = (record.updates - points[-1].updates) / length
            point = epoch_end = _advance(points[-1], record, share)
        epoch = record.epoch if record.tag == "train" else epoch
        if point.updates == points[-1].updates > 0:
            points.pop()
        points.append(point)
    return points


def _advance(start: Progress, record: _Record, share: float = 1.0) -> Progress:
    """Add the interval from ``start`` to a record, a share of what its line is of.

    A line has the mean of target tokens an update and the sum of seconds.
    """
    count = record.updates - start.updates
    tokens = record.number("wpb")
    return Progress(
        record.updates,
        start.tokens + count * tokens,
        start.replicated_tokens + count * record.number("bas_wpb", tokens),
        start.seconds + share * record.values["train_wall"],
    )
