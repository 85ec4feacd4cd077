"""The page: one HTML file with everything in it."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..tool.system_score import LOWER_IS_BETTER, MetricScore
from ..tool.training_run import TrainingRun
from ..version import __version__
from .chart import Chart, Row, summary_of
from .markup import Markup, details, joined, table, tag
from .numbers import OVERVIEW, outlook_text, overview_row
from .page_runs import differences_section, named, run_section
from .scores import Scores
from .style import SCRIPT, STYLE
from .svg import svg_of


@dataclass(frozen=True, eq=False)
class Report:
    """Hold what a page shows.

    Args:
        title: of the page.
        runs: at least one.
        rows: of figures.
        scores: of test sets.
        made: when the page was made, as text.
        files: folder beside the page that has the figures and the table; None if there is none.
    """

    title: str
    runs: Sequence[TrainingRun]
    rows: Sequence[Row]
    scores: Sequence[Scores] = ()
    made: str = ""
    files: str | None = None


def page_of(report: Report) -> str:
    """Return the page.

    Args:
        report: what it shows.

    Returns:
        HTML that loads nothing, by its own policy: the one script it may run is known by its
        hash, so that what a log says could not run even if it were not escaped.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = joined(
        [
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<link rel="icon" href="data:,">'),
            tag("title", report.title),
            Markup(f"<style>{STYLE}</style>"),
        ],
        "\n",
    )
    body = joined(
        [
            tag("main", joined(_sections(report), "\n")),
            Markup('<div id="hover" role="status"></div>'),
            Markup(f"<script>{SCRIPT}</script>"),
        ],
        "\n",
    )
    document = joined([tag("head", head), tag("body", body)], "\n")
    return f'<!DOCTYPE html>\n<html lang="en">\n{document}\n</html>\n'


def _sections(report: Report) -> list[Markup]:
    return [
        _header(report),
        _overview(report.runs),
        *(_scores(scores) for scores in report.scores),
        _events(report.runs),
        *_figures(report),
        differences_section(report.runs),
        *(run_section(run, index) for index, run in enumerate(report.runs)),
    ]


def _header(report: Report) -> Markup:
    unfinished = sum(run.ending == "unfinished" for run in report.runs)
    state = f"{len(report.runs)} runs" if len(report.runs) > 1 else "1 run"
    if unfinished:
        state += f", {unfinished} not finished"
    lines = [f"{state}. Made {report.made} by fairseq_bas {__version__}."]
    if report.files:
        lines.append(f"All numbers are in {report.files}/runs.tsv.")
    return joined([tag("h1", report.title), tag("p", " ".join(lines), class_="soft")])


def _overview(runs: Sequence[TrainingRun]) -> Markup:
    rows = [[named(run, index), *overview_row(run)] for index, run in enumerate(runs)]
    shown = len(OVERVIEW) - (not any("bleu" in run.valid for run in runs))
    rows = [row[:shown] for row in rows]
    found = table(OVERVIEW[:shown], rows, "How far each run is")
    notes = [tag("p", note) for run in runs if (note := outlook_text(run))]
    return joined([tag("h2", "Runs"), found, *notes])


def _scores(scores: Scores) -> Markup:
    """Return the table of scores, and the signatures below it."""
    header: list[object] = ["system"]
    for metric in scores.metrics:
        header += [metric, "±", "p"]
    baseline = scores.systems[0]
    rows = []
    for system in scores.systems:
        cells: list[object] = [system.name]
        for metric in scores.metrics:
            cells += _score_cells(metric, system.metrics[metric], baseline.metrics[metric])
        rows.append(cells)
    lines = [f"Test set: {scores.source}."]
    if scores.test != "none":
        lines.append(
            f"± is half of the 95 % interval, p is against {baseline.name} (paired {scores.test}, "
            f"{scores.trials} trials); * p < 0.05, bold where it is also better."
        )
    lower = [metric for metric in scores.metrics if metric in LOWER_IS_BETTER]
    if lower:
        lines.append(f"{', '.join(lower)}: lower is better.")
    signatures = [
        tag("li", joined([tag("b", name), Markup(" "), tag("code", metric.signature)]))
        for name, metric in baseline.metrics.items()
    ]
    return joined(
        [
            tag("h2", "Scores"),
            table(header, rows, "Scores on the test set"),
            tag("p", " ".join(lines), class_="soft"),
            tag("ul", joined(signatures)),
        ]
    )


def _score_cells(name: str, own: MetricScore, baseline: MetricScore) -> list[object]:
    ci = "" if own.ci is None else f"{own.ci:.2f}"
    p_value = ""
    if own.p_value is not None:
        p_value = f"{own.p_value:.4f}{'*' if own.significant else ''}"
    score = f"{own.score:.2f}"
    gain = own.score - baseline.score
    is_better = own.significant and (gain < 0 if name in LOWER_IS_BETTER else gain > 0)
    return [tag("b", score) if is_better else score, ci, p_value]


def _events(runs: Sequence[TrainingRun]) -> Markup:
    rows = [
        [
            named(run, index),
            event.kind,
            _updates(event.first, event.last),
            str(event.count),
            tag("span", event.message),
        ]
        for index, run in enumerate(runs)
        for event in run.events
    ]
    if not rows:
        return joined([tag("h2", "Warnings"), tag("p", "None was found in the logs.")])
    header = ("run", "kind", "after update", "times", "first message")
    found = table(header, rows, "Warnings found in the logs", numbers=False)
    return joined([tag("h2", f"Warnings ({len(rows)})"), found])


def _updates(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def _figures(report: Report) -> list[Markup]:
    sections = []
    for row in report.rows:
        section = [tag("h2", row.heading), _legend(report.runs, row.charts)]
        section.append(tag("div", joined([_figure(c) for c in row.charts]), class_="charts"))
        sections.append(joined(section, "\n"))
    return sections


def _legend(runs: Sequence[TrainingRun], charts: Sequence[Chart]) -> Markup:
    items = [tag("li", named(run, index)) for index, run in enumerate(runs)]
    parts = {line.part for chart in charts for line in chart.lines}
    if {"train", "valid"} <= parts:
        items.append(tag("li", "thin: train, thick: valid", class_="soft"))
    if "with copies" in parts:
        items.append(tag("li", "thin: copies counted too", class_="soft"))
    return tag("ul", joined(items), class_="legend", aria_label="Runs")


def _figure(chart: Chart) -> Markup:
    rows = [[line.label, *summary_of(line)] for line in chart.lines]
    numbers = table(("line", "first", "lowest", "highest", "last"), rows, f"{chart.title}, values")
    scale = ", logarithmic" if chart.log else ""
    caption = [tag("h3", chart.title), tag("p", f"{chart.y_label}{scale}")]
    parts = [tag("figcaption", joined(caption)), Markup(svg_of(chart))]
    return tag("figure", joined([*parts, details("Values", numbers)]))
