"""A planned run as a picture: batch, copies, learning rate and kappa over updates and over text."""

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

from .plan_table import Row

Value = Callable[[Row], float]

# Okabe and Ito's colours, which colour-blind readers tell apart.
_COLOURS = ("#0072B2", "#D55E00")
_TICKS = 5
_MANY = 8  # times that values grow, from which on an axis is logarithmic
_TITLE = 110  # letters of a line


def draw_plan(path: str, courses: dict[str, Sequence[Row]], base_tokens: float, title: str) -> None:
    """Draw a planned run into a PNG file.

    Four panels below each other, batch, M, learning rate and kappa, once over updates and once over
    target tokens. The batch is the planned one; a dashed line shows it with copies.

    Args:
        path: file to write, 2000 pixels wide, made to be read at 1000.
        courses: name of a course -> its rows; one, or two that are told apart by a legend.
        base_tokens: target tokens of the base batch.
        title: of the picture.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), dpi=200, layout="constrained")
    lines = wrap(title, _TITLE, break_on_hyphens=False)
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)
    axes = figure.subplots(4, 2, sharex="col", sharey="row")
    has_copies = any(row.replicas > 1 for rows in courses.values() for row in rows)
    panels: list[tuple[str, list[tuple[Value, str, str]]]] = [
        ("batch (target tokens)", _batch_lines(base_tokens, has_copies)),
        ("copies M", [(lambda row: row.replicas, "-", "")]),
        ("learning rate", [(lambda row: row.lr, "-", "")]),
        ("kappa", [(lambda row: row.kappa, "-", "")]),
    ]
    for line, (label, drawn) in zip(axes, panels, strict=True):
        steps = label != "learning rate"
        for panel, x in zip(line, (_updates, _millions), strict=True):
            for (name, rows), colour in zip(courses.items(), _COLOURS, strict=False):
                for value, style, suffix in drawn:
                    panel.plot(
                        *_curve(rows, x, value, steps),
                        linestyle=style,
                        color=colour,
                        linewidth=1.6,
                        label=", ".join(filter(None, (name, suffix))),
                    )
            _dress(panel)
        line[0].set_ylabel(label)
        _scale(line[0], [v for _, rows in courses.items() for v in _values(rows, drawn)])
    axes[-1][0].set_xlabel("updates")
    axes[-1][1].set_xlabel("distinct target tokens (millions)")
    axes[-1][0].xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    figure.align_ylabels()
    if len(courses) > 1 or has_copies:
        axes[0][0].legend(frameon=False, fontsize=9)
    figure.savefig(path, format="png")


def _batch_lines(base_tokens: float, has_copies: bool) -> list[tuple[Value, str, str]]:
    lines: list[tuple[Value, str, str]] = [(lambda row: row.batch * base_tokens, "-", "")]
    if has_copies:
        lines[0] = (lines[0][0], "-", "distinct")
        lines.append((lambda row: row.batch * base_tokens * row.replicas, "--", "with copies"))
    return lines


def _updates(row: Row) -> tuple[float, float]:
    """Return where an update begins and ends on the axis of updates."""
    return row.update - 1, row.update


def _millions(row: Row) -> tuple[float, float]:
    """Return where an update begins and ends on the axis of target tokens."""
    return (row.seen_tokens - row.target_tokens) / 1e6, row.seen_tokens / 1e6


def _curve(
    rows: Sequence[Row], x: Callable[[Row], tuple[float, float]], value: Value, steps: bool
) -> tuple[list[float], list[float]]:
    """Return the points of a line; a stepped one has the value of a row until the next begins."""
    if not steps:
        return [x(row)[0] for row in rows], [value(row) for row in rows]
    ends = [x(row)[0] for row in rows[1:]] + [x(row)[1] for row in rows[-1:]]
    points = [
        (at, value(row)) for row, end in zip(rows, ends, strict=True) for at in (x(row)[0], end)
    ]
    return [at for at, _ in points], [height for _, height in points]


def _values(rows: Sequence[Row], drawn: Sequence[tuple[Value, str, str]]) -> list[float]:
    return [value(row) for row in rows for value, _, _ in drawn]


def _scale(panel: Any, values: Sequence[float]) -> None:
    """Show values from 0 on; those that grow many times over, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = min(values, default=0.0), max(values, default=0.0)
    panel.yaxis.set_major_formatter(lambda value, _: _number(value))
    if panel.get_ylabel() != "learning rate" and low > 0 and high / low >= _MANY:
        panel.set_yscale("log")
        panel.set_ylim(low / 1.3, high * 1.3)
        panel.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(lambda value, _: _number(value))
        return
    panel.set_ylim(0, high * 1.12 if high > 0 else 1)
    panel.locator_params(axis="y", nbins=_TICKS, integer=panel.get_ylabel() == "copies M")


def _number(value: float) -> str:
    """Return a number for an axis.

    >>> [_number(value) for value in (20000, 2.5, 0.0005, 0.00002, 0)]
    ['20,000', '2.5', '0.0005', '2e-05', '0']
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _dress(panel: Any) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_xlim(left=0)
    panel.margins(x=0.01)
