"""Which charts a report has: what the runs logged decides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tool.run_table import Table
from ..tool.training_run import TrainingRun
from .chart import Chart, Line, Row


@dataclass(frozen=True)
class _Axis:
    """A measure of progress that quantities are drawn against."""

    key: str
    column: str
    label: str


AXES = (
    _Axis("updates", "updates", "updates"),
    _Axis("tokens", "tokens", "target tokens read, distinct"),
    _Axis("hours", "hours", "hours spent in updates"),
)


@dataclass(frozen=True)
class _Quantity:
    """Something logged: by training, by validation, or both."""

    key: str
    title: str
    unit: str
    train: str = ""
    valid: str = ""
    copies: str = ""
    log: bool = False
    zero: bool = False


_QUALITY = (
    _Quantity("loss", "Loss", "bits per target token", "loss", "loss"),
    _Quantity(
        "nll-loss", "Loss without label smoothing", "bits per target token", "nll_loss", "nll_loss"
    ),
    _Quantity("ppl", "Perplexity", "per target token", "ppl", "ppl", log=True),
    _Quantity("bleu", "BLEU at validation", "of the validation text", "", "bleu"),
)
_COURSE = (
    _Quantity(*("batch", "Batch", "target tokens an update", "wpb"), copies="bas_wpb", zero=True),
    _Quantity("replicas", "Copies of every sentence, M", "copies", "bas_replicas", zero=True),
    _Quantity("sentences", "Distinct sentences of an update", "sentences", "bsz", zero=True),
    _Quantity("lr", "Learning rate", "learning rate", "lr", zero=True),
    _Quantity(
        *("noise-scale", "Gradient noise scale", "target tokens", "bas_noise_scale"), log=True
    ),
    _Quantity(
        "effective-batch",
        "Effective batch, B_eff",
        "distinct target tokens of equal variance",
        "bas_effective_batch",
        zero=True,
    ),
    _Quantity("loss-scale", "Loss scale", "factor", "loss_scale", log=True),
    _Quantity("gnorm", "Gradient norm", "before clipping", "gnorm", log=True),
    _Quantity("clip", "Updates with clipped gradient", "percent", "clip", zero=True),
    _Quantity(
        *("replica-std", "Spread of copies", "bits per target token", "replica_std"), zero=True
    ),
    _Quantity(*("wps", "Throughput", "target tokens a second", "wps"), copies="bas_wps", zero=True),
    _Quantity("ups", "Updates a second", "updates a second", "ups", zero=True),
    _Quantity("curvature", "Curvature", "largest eigenvalue", "bas_curvature", log=True),
    _Quantity("consensus", "Distance of workers", "consensus distance", "bas_consensus", log=True),
)


def charts_of(runs: Sequence[TrainingRun]) -> list[Row]:
    """Return the charts of a report.

    Args:
        runs: at least one.

    Returns:
        The rows of the page: loss, perplexity and BLEU each against updates, target
        tokens and hours, then the course of training against updates. What no run logged is left
        out.
    """
    rows: list[tuple[str, list[Chart | None]]] = []
    for quantity in _QUALITY:
        if quantity.key == "nll-loss" and not _has_smoothing(runs):
            continue
        charts = [
            _chart(quantity, axis, runs, f"{quantity.key}-{axis.key}", f" over {axis.key}")
            for axis in AXES
        ]
        rows.append((quantity.title, charts))
    rows.append(("Course of training", [_chart(q, AXES[0], runs, q.key) for q in _COURSE]))
    drawn = [(heading, [chart for chart in charts if chart]) for heading, charts in rows]
    return [Row(heading, charts) for heading, charts in drawn if charts]


def _chart(
    quantity: _Quantity, axis: _Axis, runs: Sequence[TrainingRun], key: str, over: str = ""
) -> Chart | None:
    """Return the chart of a quantity, None if no run has it."""
    lines = []
    both = bool(quantity.train and quantity.valid)
    for colour, run in enumerate(runs):
        copies_differ = quantity.copies and _differ(run.train, quantity.train, quantity.copies)
        for table, column, part, strong in (
            (run.train, quantity.train, "train" if both else "", not both),
            (run.valid, quantity.valid, "valid" if both else "", True),
            (run.train, quantity.copies if copies_differ else "", "with copies", False),
        ):
            if column and column in table:
                x, y = _finite(table[axis.column], table[column])
                if np.isfinite(y).any():
                    lines.append(Line(run.name, part, x, y, colour, strong, part == "valid"))
    if not lines:
        return None
    return Chart(
        *(key, quantity.title + over, axis.label, quantity.unit, lines),
        log=quantity.log,
        zero=quantity.zero,
    )


def _finite(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leave out points whose place on the horizontal axis is unknown."""
    known = np.isfinite(x)
    return x[known], y[known]


def _differ(table: Table, first: str, second: str) -> bool:
    """Tell whether two columns are both there and not the same."""
    if first not in table or second not in table:
        return False
    return not np.array_equal(table[first], table[second], equal_nan=True)


def _has_smoothing(runs: Sequence[TrainingRun]) -> bool:
    """Tell whether the loss of a run differs from that without label smoothing."""
    return any(_differ(run.valid, "loss", "nll_loss") for run in runs)
