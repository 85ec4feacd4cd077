"""A planned run as text: the rules in force, a table of its stages, memory and warnings."""

import textwrap
from collections.abc import Iterator

from .plan_memory import HOW, MemoryEstimate
from .plan_report import Report, rules_of
from .plan_run import Course
from .plan_table import Stage, put_together

WIDTH = 100
LINES = 24
"""Columns of text, and lines of the table at most."""

COURSES = {
    None: "stages: a line where the batch, M or the direction of the learning rate changes",
    "low": "course low: what is measured keeps batch and learning rate as low as they may be",
    "high": "course high: it lets them grow to their bounds as fast as they may",
}


def text_report(report: Report) -> str:
    """Return the whole report, with a line feed after each line."""
    lines = [*_head(report)]
    for label, text in rules_of(report.plan).items():
        lines += _labelled(label, text)
    for part in report.plan.measured:
        lines += _labelled("measured", f"in training: {part}; both ends are planned")
    for course in report.plan.courses:
        lines += ["", COURSES[course.outlook], *_stages(course), *_totals(course, report)]
    if report.memory is not None:
        lines += ["", *_memory(report.memory, report.data["unit"])]
    lines += ["", "warnings" if report.warnings else "no warnings"]
    for sentence in report.warnings:
        lines += _wrapped(sentence, "  - ", "    ")
    for sentence in report.notes:
        lines += _labelled("note", sentence)
    return "\n".join(lines) + "\n"


def _wrapped(text: str, first: str, further: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,  # paths are to be copied
        break_on_hyphens=False,
    )


def _labelled(label: str, text: str) -> list[str]:
    return _wrapped(text, f"{label:<15}", " " * 15)


def _head(report: Report) -> Iterator[str]:
    plan, data = report.plan, report.data
    setup, base = plan.setup, plan.base
    cfg = setup.cfg
    weights = sum(p.numel() for p in setup.model.parameters())
    unit = data["unit"]
    yield from _labelled(
        "run",
        f"{cfg.task._name}, {cfg.model._name} of {weights:,} parameters, {_workers(setup.workers)}",
    )
    yield from _labelled(
        "epoch",
        f"{data['sentences']:,} {unit}, {data['target_tokens']:,} target tokens, in "
        f"{data['micro_batches']:,} micro-batches",
    )
    flags = {
        "--max-tokens": cfg.dataset.max_tokens,
        "--batch-size": cfg.dataset.batch_size,
        "--update-freq": ",".join(map(str, cfg.optimization.update_freq)),
    }
    given = ", ".join(f"{flag} {value}" for flag, value in flags.items() if value is not None)
    yield from _labelled(
        "1x",
        f"{base.sentences:,.1f} {unit}, {base.target_tokens:,.0f} target tokens, the mean update "
        f"of {given} and {_workers(setup.workers)}; "
        f"kappa {plan.planner.kappa_of_base:.4g}",
    )


def _workers(workers: int) -> str:
    return f"{workers} workers" if workers > 1 else "1 worker"


_HEADER = (
    "updates", "epoch", "batch", "sentences", "tokens", "M", "with copies", "kappa", "learning rate"
)  # fmt: skip


def _stages(course: Course) -> list[str]:
    """Return the table; sizes are means over the updates of a line."""
    stages = put_together(course.table.stages, LINES)
    table = [_HEADER, *map(_cells, stages)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index in (0, len(row) - 1) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    if len(stages) < len(course.table.stages):
        lines.append(f"(neighbours of {len(course.table.stages)} stages are put together)")
    return lines


def _cells(stage: Stage) -> tuple[str, ...]:
    first, last, count = stage.first, stage.last, stage.updates
    kappa = first.kappa / first.batch  # of 1x
    return (
        _span(f"{first.update:,}", f"{last.update:,}", " - "),
        _span(str(first.epoch), str(last.epoch)),
        _span(*(f"{batch:.4g}x" for batch in stage.batches)),
        f"{stage.sentences / count:,.1f}",
        f"{stage.target_tokens / count:,.0f}",
        _span(*map(str, stage.replicas)),
        f"{stage.token_copies / count:,.0f}",
        _span(*(f"{batch * kappa:.4g}" for batch in stage.batches)),
        _span(f"{first.lr:.4g}", f"{last.lr:.4g}", " -> "),
    )


def _span(first: str, last: str, between: str = "-") -> str:
    return first if first == last else f"{first}{between}{last}"


def _totals(course: Course, report: Report) -> list[str]:
    totals, end = course.table.totals, course.end
    copies = ""
    if totals.token_copies > totals.target_tokens:
        copies = f", {totals.token_copies:,} with copies"
    return _labelled(
        "total",
        f"{totals.updates:,} updates in {end.epochs:.4g} epochs; {totals.sentences:,} "
        f"{report.data['unit']}, {totals.target_tokens:,} target tokens{copies}",
    )


def _memory(memory: MemoryEstimate, unit: str) -> Iterator[str]:
    yield "memory of each device, an estimate"
    names = [*memory.parts, "total"]
    width = max(map(len, names))
    for name, size in (*memory.parts.items(), ("total", memory.total)):
        yield f"  {name:<{width}}  {_bytes(size):>10}"
    copies = f", {memory.copies} copies of each in a pass" if memory.copies > 1 else ""
    text = f"Largest pass: {memory.sentences} {unit}{copies}. {HOW[0].upper()}{HOW[1:]}."
    yield from _wrapped(text, "  ", "  ")
    for note in memory.notes:
        yield from _wrapped(note, "  - ", "    ")


def _bytes(size: float) -> str:
    """Return a number of bytes for reading.

    >>> _bytes(3 * 2**20), _bytes(1500)
    ('3.0 MiB', '1.5 KiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"
