"""A training run, read from its folder or its log, finished or not."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .learning_curve import RunLog
from .log_lines import EPOCH, INNER, Record, whole_lines
from .run_checkpoints import CheckpointFacts, read_checkpoints
from .run_events import Event, RunText
from .run_log import latest, run_log_of
from .run_outlook import Outlook, outlook_of
from .run_table import Table, table_of

LOG_NAME = "train.log"
_LOG_PATTERNS = ("*.log", "*.out", "*.err", "*.txt")


@dataclass(frozen=True)
class TrainingRun:
    """Hold what is known of a run.

    Args:
        name: how it is called.
        path: as it was given.
        log: validations and progress.
        train: numbers of training, a row every ``--log-interval`` updates.
        valid: numbers of validation.
        epochs: numbers of epochs, a row for each.
        text: what else the log tells.
        flags: of fairseq-train; empty if neither log nor checkpoint has them.
        outlook: when it will end.
        checkpoints: its last and its best one.
        hypotheses: files of translations beside the log, ``*.gen``.
    """

    name: str
    path: str
    log: RunLog
    train: Table
    valid: Table
    epochs: Table
    text: RunText
    flags: dict[str, Any]
    outlook: Outlook
    checkpoints: tuple[CheckpointFacts, ...] = ()
    hypotheses: tuple[str, ...] = ()

    @property
    def ending(self) -> str:
        """Return ``done``, ``interrupted``, ``failed`` or ``unfinished``."""
        return self.text.ending

    @property
    def events(self) -> list[Event]:
        """Return warnings, in the order of the log."""
        return self.text.events


def load_run(path: str, name: str | None = None, checkpoints: bool = True) -> TrainingRun:
    """Read a run.

    Args:
        path: its folder, with the log in ``train.log`` or, if there is none, in all files
            ``*.log``, ``*.out``, ``*.err`` and ``*.txt`` that have lines of training, the oldest
            first; or its log.
        name: how it is called; the name of the folder, or of the log without its end, if None.
        checkpoints: read the last and the best checkpoint in the folder too.

    Raises:
        ValueError: if there is no log of training.
    """
    place = Path(path)
    if not place.exists():
        raise ValueError(f"{path} does not exist; pass the folder or the log of a run")
    folder = place if place.is_dir() else place.parent
    text = _read_logs(place)
    records = latest(text.records)
    if not any(record.tag in (INNER, EPOCH) or record.is_valid for record in records):
        raise ValueError(
            f"{path} has no line of training or validation; pass the log of fairseq-train, or wait "
            "for the first line (see --log-interval)"
        )
    found = tuple(read_checkpoints(folder)) if checkpoints and place.is_dir() else ()
    for checkpoint in found:
        if checkpoint.problem:
            text.add("damage", checkpoint.problem)
    flags = text.flags or next((file.flags for file in found if file.flags), {})
    run = run_of(text, records, name or _name(place), path)
    gen = sorted(str(file) for file in folder.glob("*.gen")) if place.is_dir() else []
    return replace(run, flags=flags, checkpoints=found, hypotheses=tuple(gen))


def run_of(text: RunText, records: list[Record], name: str, path: str = "") -> TrainingRun:
    """Make a run of what was read.

    Args:
        text: what the log tells.
        records: its lines with numbers, those that `latest` returns.
        name: how it is called.
        path: as it was given.
    """
    log = run_log_of(records)
    _note(text, records)
    subset = next((record.tag for record in records if record.is_valid), "")

    def table(tag: str) -> Table:
        return table_of([record for record in records if record.tag == tag], log)

    epochs = table(EPOCH)
    train = table(INNER)
    return TrainingRun(
        *(name, path, log, train if len(train) else epochs, table(subset), epochs),
        *(text, text.flags, outlook_of(text, records)),
    )


def _note(text: RunText, records: list[Record]) -> None:
    """Add what only the numbers tell to the warnings."""
    if records[0].epoch > 1:
        text.add("log", f"begins in epoch {records[0].epoch}: tokens and hours count from there on")
    for record in records:
        if record.number("bas_replicas", 1.0) > 1 and record.number("replica_std") == 0:
            text.add_at(record.updates, "copies", "all copies are identical: replica_std is 0")
        if record.number("loss") != record.number("loss") and "loss" in record.values:
            text.add_at(record.updates, "not finite", f"the loss of a {record.tag} line is NaN")


def _read_logs(place: Path) -> RunText:
    """Read a log, or those of a folder."""
    if not place.is_dir():
        return _read_log(place)
    if (place / LOG_NAME).is_file():
        return _read_log(place / LOG_NAME)
    files = sorted({file for pattern in _LOG_PATTERNS for file in place.glob(pattern)})
    logs = [(text.started or 0.0, file) for file in files if (text := _read_log(file)).records]
    if not logs:
        raise ValueError(
            f"{place} has no log of training; pass the file that fairseq-train's output went to"
        )
    return _read_log(*(file for _, file in sorted(logs)))


def _read_log(*files: Path) -> RunText:
    """Read files one after the other, as if they were one."""
    text = RunText()
    for file in files:
        try:
            with open(file, encoding="utf-8", errors="replace") as lines:
                _read_lines(text, lines)
        except OSError as error:
            raise ValueError(f"{file} cannot be read ({error.strerror}); check the path") from error
    return text


def _read_lines(text: RunText, lines: Iterable[str]) -> None:
    for line in whole_lines(lines):
        text.read(line)


def _name(place: Path) -> str:
    """Return the name of the folder, also of one whose log was given by its usual name."""
    whole = place.resolve()
    if place.is_dir():
        return whole.name
    return whole.parent.name if whole.name == LOG_NAME else whole.stem
