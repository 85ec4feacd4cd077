"""Files that a command writes its report to."""

import argparse
import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path


def check_reports(reports: Iterable[str | None], inputs: Iterable[str]) -> None:
    """Refuse before the work a report that could not be written or would destroy input.

    Args:
        reports: paths to write; None for those that were not asked for.
        inputs: paths to read.

    Raises:
        ValueError: in one sentence that names the path.
    """
    taken = {Path(path).resolve() for path in inputs}
    for report in filter(None, reports):
        path = Path(report).resolve()
        if path in taken:
            raise ValueError(
                f"{report} is given twice, as a report and as another file; choose another name"
            )
        if path.is_dir() or not path.parent.is_dir():
            raise ValueError(
                f"{report} cannot be written: it is a folder or its folder is missing; "
                "create the folder or choose another name"
            )
        taken.add(path)


def require_matplotlib(figure: str | None) -> None:
    """Refuse before the work a figure that cannot be drawn.

    Args:
        figure: its file; None if it was not asked for.

    Raises:
        ValueError: if matplotlib is not installed.

    >>> require_matplotlib(None)
    """
    if figure and importlib.util.find_spec("matplotlib") is None:
        raise ValueError(
            "--figure needs matplotlib, which is not installed; run pip install matplotlib, or "
            "leave it out"
        )


def write_report(path: str, lines: Iterable[str]) -> None:
    """Write a report: at every moment the path has the old content or all of the new one.

    Args:
        path: file to create or replace.
        lines: pieces of text, written one after the other; what is not valid UTF-8, as a name may
            be, becomes an escape.

    Raises:
        OSError: if it cannot be written.
    """
    _replace(path, lambda target: _write(target, lines))


def write_bytes(path: str, content: bytes) -> None:
    """Write a file such as a picture, as `write_report` does.

    Args:
        path: file to create or replace.
        content: all of it.

    Raises:
        OSError: if it cannot be written.
    """

    def write(target: str) -> None:
        with open(target, "wb") as file:
            file.write(content)

    _replace(path, write)


def _replace(path: str, write: Callable[[str], None]) -> None:
    """Write a file beside another and put it in its place."""
    if os.path.exists(path) and not os.path.isfile(path):  # such as a pipe
        write(path)
        return
    target = os.path.realpath(path)
    part = f"{target}.{os.getpid()}.part"
    try:
        write(part)
        os.replace(part, target)
    finally:
        if os.path.exists(part):
            os.remove(part)


def _write(path: str, lines: Iterable[str]) -> None:
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.writelines(lines)


def deliver(
    args: argparse.Namespace,
    text: str,
    json_report: Callable[[], str],
    draw: Callable[[str], None],
) -> int:
    """Print a report, and write it as JSON and as a figure where that was asked for.

    Args:
        args: with ``json`` and ``figure``, paths or None.
        text: the report.
        json_report: returns it as JSON.
        draw: draws the figure into a file.

    Returns:
        0, the exit code.

    Raises:
        OSError: if a file cannot be written.
    """
    print(text, end="")
    if args.json:
        write_report(args.json, [json_report()])
    if args.figure:
        draw(args.figure)
    return 0
