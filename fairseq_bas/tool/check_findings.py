"""What a check found: sentences, each with how bad it is and with the cure."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import UserError

PROBLEM, WARNING, NOTE = "problem", "warning", "note"
LEVELS = (PROBLEM, WARNING, NOTE)
"""A run would fail; it would run and perhaps be sorry; worth knowing."""


@dataclass(frozen=True)
class Finding:
    """Hold one thing that was found.

    Attributes:
        level: one of ``LEVELS``.
        sentence: what is so, and what to do about it, without a full stop.
    """

    level: str
    sentence: str


def problem(sentence: str) -> Finding:
    """Return what would make a run fail."""
    return Finding(PROBLEM, " ".join(sentence.split()))


def warning(sentence: str) -> Finding:
    """Return what a run may be sorry for."""
    return Finding(WARNING, sentence)


def note(sentence: str) -> Finding:
    """Return what is worth knowing."""
    return Finding(NOTE, sentence)


@dataclass
class Section:
    """Hold what was looked at and what was found there.

    Attributes:
        title: such as ``data``.
        facts: what is so, plain values for JSON.
        lines: the facts as text.
        findings: what was found, in the order in which it was looked for.
    """

    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, findings: Iterable[Finding]) -> None:
        """Add what was found, each sentence once."""
        for finding in findings:
            if finding not in self.findings:
                self.findings.append(finding)

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Turn what the block refuses into a problem, and go on after it."""
        try:
            yield
        except (ValueError, UserError) as error:
            self.add([problem(str(error))])
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            self.add([problem(f"{name}{error.strerror or error}; check the path and its rights")])


def count(sections: Iterable[Section], level: str) -> int:
    """Return how many findings of a level there are.

    >>> count([Section("data", findings=[problem("a"), note("b")])], PROBLEM)
    1
    """
    return sum(finding.level == level for section in sections for finding in section.findings)
