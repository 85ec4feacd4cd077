"""What a log tells besides numbers: warnings, restarts, how the run ended, its summary."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from .log_lines import LOADED, Record, parse_line, time_of
from .run_flags import differing_flags, parse_config

LONGEST = 400
"""Characters of a message that are kept."""
MOST = 500
"""Different warnings that are kept."""

_LOGGED = re.compile(r".*?\| (INFO|WARNING|ERROR|CRITICAL) \| ([\w.]+) \| (.*)", re.DOTALL)
# The first pattern found in a line says of what kind it is.
_KINDS = (
    ("interruption", re.compile(r"interrupted by SIG")),
    ("divergence", re.compile(r"divergence_guard|diverge[ds]?\b|rolled back|goes back to")),
    ("overflow", re.compile(r"overflow detected|[Mm]inimum loss scale|loss scale reached")),
    ("not finite", re.compile(r"not finite|NaN or Inf|[Ii]nf or [Nn]a[Nn]|NaN detected")),
    ("skipped sentences", re.compile(r"invalid sizes and will be skipped|left out +[0-9]+ of ")),
    (
        "damage",
        re.compile(r"damaged|is incomplete|is empty, so|is passed over|was refused because"),
    ),
    ("memory", re.compile(r"out of memory|OOM")),
    ("lost worker", re.compile(r"lost its connection")),
    (
        "setup changed",
        re.compile(r"\(it was .* in the checkpoint\)|were not read before the setup"),
    ),
)
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?")
_SUMMARY = "fairseq_bas.task.run_summary"
_SUMMARY_WIDTH = 15  # of the names in its lines


@dataclass(frozen=True)
class Event:
    """Something that a reader of the report should know.

    Args:
        kind: such as ``overflow``.
        message: of the first time.
        first: updates of the last line with numbers before the first time.
        last: the same, of the last time.
        count: times.
    """

    kind: str
    message: str
    first: int
    last: int
    count: int = 1


@dataclass
class RunText:
    """What the lines of a log say, collected by `read`.

    Args:
        records: lines with numbers, as they were written.
        events: warnings, those alike counted together.
        flags: of the last process.
        summary: what our tasks say once before the first update, name -> text.
        facts: parameters, workers.
        processes: how often the run was started.
        ending: ``done``, ``interrupted``, ``failed`` or ``unfinished``.
        started: when the last process started, on the clock of the log.
        started_updates: updates before the last process.
        ended: when the last line with a date was written.
        last_line: the last one that is not empty.
    """

    records: list[Record] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    processes: int = 0
    ending: str = "unfinished"
    started: float | None = None
    started_updates: int = 0
    ended: float | None = None
    last_line: str = ""
    _updates: int = 0
    _block: str = ""
    _seen: dict[tuple[str, str], int] = field(default_factory=dict)

    def read(self, line: str) -> None:
        """Take one line.

        Args:
            line: the next one.
        """
        text = line.rstrip()
        if not text:
            return
        self.last_line = text[:LONGEST]
        self.ended = time_of(text[:40]) or self.ended
        record = parse_line(line)
        if record is not None:
            self._block = ""
            self._updates = record.updates
            if record.tag == LOADED:
                self.started_updates = record.updates
            self.records.append(record)
            return
        match = _LOGGED.match(text)
        if match is None:
            self._continue(text)
            return
        self._block = ""
        self._read_message(match[1], match[2], match[3])

    def add(self, kind: str, message: str) -> None:
        """Count an event.

        Args:
            kind: its kind.
            message: what is shown; those that differ in numbers only are one.
        """
        message = message[:LONGEST]
        key = (kind, _NUMBERS.sub("#", message))
        index = self._seen.get(key)
        if index is not None:
            event = self.events[index]
            self.events[index] = replace(event, last=self._updates, count=event.count + 1)
        elif len(self.events) < MOST:
            self._seen[key] = len(self.events)
            self.events.append(Event(kind, message, self._updates, self._updates))

    def add_at(self, updates: int, kind: str, message: str) -> None:
        """Count an event of a known update.

        Args:
            updates: of the event.
            kind: its kind.
            message: what is shown.
        """
        self._updates = updates
        self.add(kind, message)

    def _read_message(self, level: str, logger: str, message: str) -> None:
        if logger == "fairseq_cli.train" and message.startswith("{"):
            self._start(message)
            return
        if logger == _SUMMARY:
            self._block = "summary"
            return
        if message.startswith("done training in"):
            self.ending = "done"
        elif message.startswith("num. shared model params:"):
            self.facts["parameters"] = message.split(":", 1)[1].split("(")[0].strip()
        elif message.startswith("training on "):
            self.facts["workers"] = message.removeprefix("training on ")
        kind = next((name for name, found in _KINDS if found.search(f"{logger} {message}")), None)
        if level == "INFO" and (kind is None or len(message) > LONGEST):
            return
        if kind == "interruption":
            self.ending = "interrupted"
        self.add(kind or level.lower(), message)

    def _start(self, config: str) -> None:
        """Note that a process starts."""
        self.processes += 1
        self.ending, self.started, self.started_updates = "unfinished", self.ended, 0
        flags = parse_config(config)
        if self.flags and flags:
            for name, (before, after) in differing_flags([self.flags, flags]):
                self.add("flags changed", f"--{name.replace('_', '-')}: {before}, then {after}")
        self.flags = flags or self.flags

    def _continue(self, text: str) -> None:
        """Take a line without a date: of the summary, of a traceback, or of an error."""
        if text.startswith("Traceback (most recent call last)"):
            self._block = "traceback"
        elif self._block == "traceback" and not text.startswith(" "):
            self._block = ""
            self.ending = "failed"
            self.add("error", text)
        elif self._block == "summary" and text.startswith("  "):
            name, value = text[2 : 2 + _SUMMARY_WIDTH].strip(), text[2 + _SUMMARY_WIDTH :].strip()
            self.summary[name] = value
            if name == "left out":
                self.add("skipped sentences", f"left out {value}")
        else:
            kind = next((name for name, found in _KINDS[1:] if found.search(text)), None)
            if kind and len(text) <= LONGEST:
                self.add(kind, text)
