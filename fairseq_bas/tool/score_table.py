"""Reports of system scores: a text table, a JSON document, tab-separated values."""

import csv
import io
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ..version import __version__
from .system_score import (
    LOWER_IS_BETTER,
    SIGNIFICANCE_LEVEL,
    MetricScore,
    ScoreSettings,
    SystemScore,
)

TSV_COLUMNS = (
    *("system", "path", "metric", "score", "mean", "ci", "p_value", "significant"),
    "signature",
)


def text_report(systems: Sequence[SystemScore], settings: ScoreSettings) -> str:
    """Return the table of scores, the legend of its columns, and the signatures.

    Args:
        systems: scores, the baseline first.
        settings: what they were measured with.

    Returns:
        Lines of text, with a line feed after each.

    Example:
        >>> bleu = MetricScore(27.318, "nrefs:1|case:mixed")
        >>> print(text_report([SystemScore("M1", {"BLEU": bleu})], ScoreSettings(test="none")))
        System   BLEU
        M1      27.32
        <BLANKLINE>
        BLEU   nrefs:1|case:mixed
        <BLANKLINE>
    """
    metrics = systems[0].metrics
    rows = [["System", *(cell for name in metrics for cell in _header(name, systems))]]
    for system in systems:
        cells = [
            cell
            for name, metric in system.metrics.items()
            for cell in _cells(metric, _header(name, systems))
        ]
        rows.append([system.name, *cells])
    legend = _legend(systems, settings)
    width = max(len(name) for name in metrics)
    signatures = [f"{name:<{width}}   {metric.signature}" for name, metric in metrics.items()]
    lines = [*_align(rows), "", *legend, *([""] if legend else []), *signatures]
    return "\n".join(lines) + "\n"


def _header(name: str, systems: Sequence[SystemScore]) -> list[str]:
    """Return the columns of a metric: its score, and what at least one system has of it."""
    scores = [system.metrics[name] for system in systems]
    columns = [name]
    if any(score.ci is not None for score in scores):
        columns.append("+-")
    if any(score.p_value is not None for score in scores):
        columns.append("p ")  # the blank stands above the marker of significance
    return columns


def _cells(metric: MetricScore, header: Sequence[str]) -> list[str]:
    """Return what one system has in the columns of one metric."""
    cells = [f"{metric.score:.2f}"]
    if "+-" in header:
        cells.append("" if metric.ci is None else f"{metric.ci:.2f}")
    if "p " in header:
        marker = "*" if metric.significant else " "
        cells.append("- " if metric.p_value is None else f"{metric.p_value:.4f}{marker}")
    return cells


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with the first column left-aligned and the others right-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return lines


def _legend(systems: Sequence[SystemScore], settings: ScoreSettings) -> list[str]:
    """Explain the columns that the table has."""
    trials = f"{settings.num_trials} %s, seed {settings.seed}"
    lines = []
    if settings.test == "bootstrap":
        lines.append(f"+-  half of the 95% bootstrap interval ({trials % 'resamples'})")
    if len(systems) > 1 and settings.test != "none":
        test = {
            "bootstrap": "paired bootstrap resampling",
            "randomization": f"approximate randomization, {trials % 'trials'}",
        }[settings.test]
        lines.append(f"p   against {systems[0].name} ({test}); * p < {SIGNIFICANCE_LEVEL}")
    lower = [name for name in systems[0].metrics if name in LOWER_IS_BETTER]
    if lower and (lines or len(systems) > 1):
        lines.append(f"{', '.join(lower)}: lower is better")
    return lines


def json_report(
    systems: Sequence[SystemScore],
    settings: ScoreSettings,
    files: Mapping[str, Mapping[str, Any]],
    references: Sequence[str],
) -> str:
    """Return everything as one JSON document, the same for the same input and versions.

    Args:
        systems: scores, the baseline first.
        settings: what they were measured with.
        files: name of a system -> what is known of its file (``path``, ``source``, ...).
        references: paths of the references.

    Returns:
        A JSON object with ``systems``, ``references``, ``test`` and ``versions``.
    """
    document = {
        "systems": [
            {
                "name": system.name,
                **files.get(system.name, {}),
                "metrics": {
                    name: {**vars(metric), "significant": metric.significant}
                    for name, metric in system.metrics.items()
                },
            }
            for system in systems
        ],
        "references": list(references),
        "test": {
            "type": settings.test,
            "trials": settings.num_trials,
            "seed": settings.seed,
            "baseline": systems[0].name,
            "level": SIGNIFICANCE_LEVEL,
        },
        "versions": {
            "fairseq_bas": __version__,
            "sacrebleu": version("sacrebleu"),
            "numpy": version("numpy"),
            "python": platform.python_version(),
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def tsv_report(systems: Sequence[SystemScore], files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one line for each system and metric, under a header; missing values are empty.

    Args:
        systems: scores, the baseline first.
        files: name of a system -> what is known of its file (``path``).

    Returns:
        Tab-separated values with numbers in full precision.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, TSV_COLUMNS, dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    for system in systems:
        path = files.get(system.name, {}).get("path", "")
        for name, metric in system.metrics.items():
            row = {"system": system.name, "path": path, "metric": name, **vars(metric)}
            # Words that read the same in Python, R and a spreadsheet.
            row["significant"] = "yes" if metric.significant else "no"
            writer.writerow(row)
    return table.getvalue()
