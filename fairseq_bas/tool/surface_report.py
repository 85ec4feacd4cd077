"""What reports on the loss of checkpoints have in common: tables, names, JSON with versions."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ..version import __version__


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines of a table; the first column to the left, the others to the right.

    >>> align([["a", "loss"], ["long", "1"]])
    ['a     loss', 'long     1']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def short_names(paths: Sequence[str]) -> list[str]:
    """Return what tells paths apart, without the folders and file names that all share.

    Args:
        paths: distinct.

    >>> short_names(["runs/small/checkpoint_best.pt", "runs/large/checkpoint_best.pt"])
    ['small', 'large']
    >>> short_names(["runs/a.pt"]), short_names(["a/x.pt", "a/y.pt"])
    (['a.pt'], ['x.pt', 'y.pt'])
    """
    if len(paths) == 1:
        return [os.path.basename(paths[0])]
    parts = [os.path.normpath(path).split(os.sep) for path in paths]
    shortest = min(map(len, parts))
    start = 0
    while start < shortest - 1 and len({part[start] for part in parts}) == 1:
        start += 1
    end = 0
    while end < shortest - start - 1 and len({part[-1 - end] for part in parts}) == 1:
        end += 1
    names = ["/".join(part[start : len(part) - end]) for part in parts]
    return names if len(set(names)) == len(names) else list(paths)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number for a table, as many significant digits as asked for.

    >>> number(3.14159), number(1234567.0), number(None), number(float("inf"))
    ('3.142', '1.235e+06', '-', 'inf')
    """
    return "-" if value is None else f"{value:#.{digits}g}".rstrip(".")


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it, None where it is not finite."""
    return value if math.isfinite(value) else None


def json_text(document: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return a JSON document with what is needed to repeat it.

    Args:
        document: plain values, finite numbers.
        options: of the command.

    Returns:
        The document, then ``options`` and ``versions``.
    """
    import fairseq

    packages = {name: version(name) for name in ("torch", "numpy", "scipy")}
    versions = {
        "fairseq_bas": __version__,
        "fairseq": fairseq.__version__,
        **packages,
        "python": platform.python_version(),
    }
    whole = {**document, "options": dict(options), "versions": versions}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def text_line(facts: Mapping[str, Any]) -> str:
    """Return in one line what text a loss was measured on, and how.

    Args:
        facts: of ``model_surface.LoadedSurface``.
    """
    loss = "nll" if facts["loss"] == "nll" else f"label-smoothed loss ({facts['smoothing']:g})"
    return (
        f"{facts['split']}: {facts['sentences']} sentences, {facts['tokens']} target tokens, seed "
        f"{facts['seed']}; {loss} in nats per token, {facts['dtype']}, {facts['device']}"
    )
