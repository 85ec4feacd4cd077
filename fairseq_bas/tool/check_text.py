"""The report of a check as text and as JSON."""

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from .check_findings import LEVELS, PROBLEM, WARNING, Section, count

WIDTH = 100


def text_report(sections: Sequence[Section]) -> str:
    """Return the whole report, the verdict last, with a line feed after each line.

    >>> print(text_report([Section("data", lines=["train  7 pairs"])]), end="")
    data
      train  7 pairs
    <BLANKLINE>
    nothing was found that would stop a run; no warnings
    """
    lines = []
    for section in sections:
        lines += [section.title, *(f"  {line}" for line in section.lines)]
        for level in LEVELS:
            for finding in section.findings:
                if finding.level == level:
                    lines += _wrapped(finding.sentence, f"  {level:<8} ")
        lines.append("")
    return "\n".join([*lines, verdict(sections)]) + "\n"


def verdict(sections: Sequence[Section]) -> str:
    """Return the last line: whether a run would fail."""
    problems, warnings = count(sections, PROBLEM), count(sections, WARNING)
    if problems:
        start = f"{problems} {'problem' if problems == 1 else 'problems'}: a run would fail"
    else:
        start = "nothing was found that would stop a run"
    end = "no warnings" if not warnings else f"{warnings} warning{'s' * (warnings > 1)}"
    return f"{start}; {end}"


def json_report(sections: Sequence[Section], exit_code: int) -> str:
    """Return everything as one JSON document.

    Returns:
        A JSON object with ``exit_code`` and ``sections``, each with ``title``, ``facts`` and
        ``findings``, these with ``level`` and ``sentence``.
    """
    described: list[dict[str, Any]] = [
        {
            "title": section.title,
            "facts": section.facts,
            "findings": [vars(finding) for finding in section.findings],
        }
        for section in sections
    ]
    document = {"exit_code": exit_code, "sections": described}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _wrapped(text: str, first: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,  # paths are to be copied
        break_on_hyphens=False,
    )
