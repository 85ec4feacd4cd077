"""Sections of the page about single runs, and about the flags in which they differ."""

from collections.abc import Sequence

from ..tool.run_flags import differing_flags, shown_flags
from ..tool.training_run import TrainingRun
from .markup import Markup, details, joined, table, tag
from .svg import COLOURS

_MOST_ROWS = 40


def _swatch(index: int) -> Markup:
    dashed = " dashed" if index >= COLOURS else ""
    return tag("span", "", class_=f"swatch c{index % COLOURS}{dashed}", aria_hidden="true")


def named(run: TrainingRun, index: int) -> Markup:
    """Return the name of a run after a spot of its colour.

    Args:
        run: the run.
        index: its place in the report.
    """
    return joined([_swatch(index), run.name])


def differences_section(runs: Sequence[TrainingRun]) -> Markup:
    """Return the table of flags in which runs differ; empty for one run.

    Args:
        runs: in the order of the report.
    """
    if len(runs) < 2:
        return Markup("")
    rows = [
        [flag_name(flag), *("-" if value is None else value for value in values)]
        for flag, values in differing_flags([run.flags for run in runs])
    ]
    heading = tag("h2", "Flags in which the runs differ")
    if not rows:
        return joined([heading, tag("p", "None.")])
    header = ["flag", *(named(run, index) for index, run in enumerate(runs))]
    found = table(header, rows, "Flags in which the runs differ", numbers=False)
    without = [run.name for run in runs if not run.flags]
    note = f"Flags not found: {', '.join(without)}." if without else ""
    framed = tag("div", found, class_="flags")
    if len(rows) > _MOST_ROWS:  # other models have other flags
        framed = details(f"{len(rows)} flags differ", framed)
    return joined([heading, framed, tag("p", note, class_="soft")])


def flag_name(flag: str) -> str:
    """Return a flag as it is written on a command line.

    Example:
        >>> flag_name("bas_replicas"), flag_name("data")
        ('--bas-replicas', 'data')
    """
    return flag if flag == "data" else f"--{flag.replace('_', '-')}"


def run_section(run: TrainingRun, index: int) -> Markup:
    """Return what is known of one run: origin, summary, checkpoints, flags.

    Args:
        run: the run.
        index: its place in the report.
    """
    text = run.text
    facts = {
        "log": run.path,
        "processes": str(text.processes) if text.processes else "",
        **text.facts,
        **text.summary,
    }
    rows = [[name, value] for name, value in facts.items() if value]
    parts = [
        tag("h2", named(run, index), id=f"run-{index}"),
        table(("what", "value"), rows, f"Origin and summary of {run.name}", numbers=False),
    ]
    if run.ending != "done" and text.last_line:
        parts.append(tag("p", joined(["Last line: ", tag("code", text.last_line)])))
    if run.checkpoints:
        parts.append(_checkpoints(run))
    if run.flags:
        flags = [[flag_name(flag), value] for flag, value in shown_flags(run.flags)]
        found = table(("flag", "value"), flags, f"All flags of {run.name}", numbers=False)
        parts.append(details(f"All {len(flags)} flags", tag("div", found, class_="flags")))
    return tag("section", joined(parts, "\n"))


def _checkpoints(run: TrainingRun) -> Markup:
    rows = [
        [
            file.name,
            "-" if file.updates is None else f"{file.updates:,}",
            "-" if file.epoch is None else str(file.epoch),
            "-" if file.best is None else f"{file.best:.3f}",
            f"{file.size / 1e6:,.1f}",
            tag("span", file.problem, class_="bad")
            if file.problem
            else ("whole, SHA-256 agrees" if file.digest else "whole"),
        ]
        for file in run.checkpoints
    ]
    header = ("checkpoint", "updates", "epoch", "best score", "MB", "state")
    return table(header, rows, f"Checkpoints of {run.name}")
