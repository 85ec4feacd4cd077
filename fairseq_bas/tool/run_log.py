r"""Reading of the log of a training run: validation losses, target tokens seen, training time.

The lines are those of `log_lines`. Others, half a line where a process was killed, and what a
resumed run has since repeated are passed over.

Time is the sum of ``train_wall``, the seconds spent in updates, without validation, saving and
start. Its meter begins anew after each line and is in the checkpoint, so the first line of a
resumed run holds the whole interval, and updates that were lost and repeated count once. Only at
the start of an epoch do resumed meters begin anew. The other candidate, ``wall``, forgets what was
before a resumption, and stays 0 after one within an epoch, where it is loaded but not restarted
(``fairseq/trainer.py``, ``load_checkpoint``; ``StopwatchMeter`` in ``fairseq/logging/meters.py``).
"""

from collections.abc import Iterable, Sequence

from .learning_curve import Progress, RunLog, ValidPoint
from .log_lines import EPOCH, INNER, LOADED, Record, parse_line, whole_lines

__all__ = [
    "Progress",
    "RunLog",
    "ValidPoint",
    "latest",
    "parse_run_log",
    "read_run_log",
    "run_log_of",
]


def read_run_log(path: str) -> RunLog:
    """Read the log of a run that was trained with ``--log-format json`` or ``simple``.

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
            return parse_run_log(whole_lines(file))
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
    everything = latest(record for line in lines if (record := parse_line(line)))
    records = [record for record in everything if record.tag != LOADED]
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
    return run_log_of(everything)


def run_log_of(records: Sequence[Record]) -> RunLog:
    """Return validations and progress.

    Args:
        records: those that `latest` returns, at least one. If the first is not of epoch 1, what was
            before it does not count. Of several validation subsets, the one logged first does.
    """
    training = [record for record in records if record.tag in (INNER, EPOCH)]
    subset = next((record.tag for record in records if record.is_valid), "")
    # fairseq's R-Drop validates on two equal copies and divides by the tokens of one.
    copies = 2 if any("rdrop_kl_loss" in record.values for record in records) else 1
    return RunLog(
        valid=tuple(_valid_point(record, copies) for record in records if record.tag == subset),
        progress=tuple(_add_up(records)),
        replicas=training[-1].number("bas_replicas", 1.0) if training else 1.0,
    )


def _valid_point(record: Record, copies: int) -> ValidPoint:
    loss = record.values["loss"] / copies
    nll = record.number("nll_loss", record.values["loss"]) / copies
    return ValidPoint(record.updates, loss, nll, record.number("ppl") ** (1 / copies))


def latest(records: Iterable[Record]) -> list[Record]:
    """Return the records in the order of their updates, without those that were trained anew.

    Args:
        records: in the order in which they were written.
    """
    kept: dict[tuple[str, int], Record] = {}
    last = 0
    for record in records:
        if record.updates < last:  # resumed from an earlier checkpoint: what came after it is void
            kept = {key: old for key, old in kept.items() if old.updates <= record.updates}
        last = record.updates
        # A process that stops within an epoch logs the epoch so far, the next one all of it.
        key = (record.tag, record.epoch if record.tag == EPOCH else record.updates)
        kept.pop(key, None)
        kept[key] = record
    return sorted(kept.values(), key=lambda record: (record.updates, _rank(record)))


def _rank(record: Record) -> int:
    """Return the place among lines on the same update, in which fairseq writes them."""
    return {INNER: 0, EPOCH: 2, LOADED: 3}.get(record.tag, 1)


def _add_up(records: Sequence[Record]) -> list[Progress]:
    """Sum ``train_inner`` intervals, and epochs, which give the total where one has ended."""
    # A log that begins later counts from there on.
    is_whole = not records or records[0].epoch == 1
    points = [Progress(0 if is_whole else records[0].updates, 0.0, 0.0, 0.0)]
    interval_end = epoch_end = points[0]
    epoch = 0 if is_whole else records[0].epoch - 1
    for record in records:
        if record.tag == LOADED and record.updates == epoch_end.updates and record.epoch > epoch:
            interval_end = epoch_end
        if record.is_valid or record.tag == LOADED:
            continue
        if record.tag == INNER:
            point = interval_end = _advance(interval_end, record)
        elif record.epoch == epoch + 1:
            point = epoch_end = _advance(epoch_end, record)
        else:  # the line of an epoch before is lost: take those since for equally long
            epochs = max(1, record.epoch - epoch)
            length = max(1, record.updates - epoch_end.updates) / epochs
            share = (record.updates - points[-1].updates) / length
            point = epoch_end = _advance(points[-1], record, share)
        epoch = record.epoch if record.tag == EPOCH else epoch
        if point.updates == points[-1].updates > 0:
            points.pop()
        points.append(point)
    return points


def _advance(start: Progress, record: Record, share: float = 1.0) -> Progress:
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
