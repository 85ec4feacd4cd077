"""What the tables of the report say of a run, as text."""

import math
import time

import numpy as np

from ..tool.training_run import TrainingRun
from .scale import short_number

ENDINGS = {
    "done": "done",
    "interrupted": "interrupted, can go on",
    "failed": "failed",
    "unfinished": "not finished",
}


def overview_row(run: TrainingRun) -> list[str]:
    """Return state, updates, epoch, hours, tokens, M, best loss, perplexity and BLEU of a run."""
    best = run.log.best
    epochs = run.train["epoch"] if len(run.train) else run.valid["epoch"]
    total = run.outlook.updates
    updates = f"{run.log.updates:,}"
    if total and run.ending != "done":
        updates += f" of {total:,}"
    return [
        ENDINGS[run.ending],
        updates,
        f"{epochs.max():.0f}",
        short_number(run.log.total.seconds / 3600, 3),
        short_number(run.log.total.tokens, 3),
        replicas_of(run),
        f"{best.loss:.3f} at {best.updates:,}" if best else "-",
        short_number(_least(run, "ppl")),
        short_number(-_least(run, "bleu", -1.0)) if "bleu" in run.valid else "-",
    ]


OVERVIEW = (
    *("run", "state", "updates", "epoch", "hours", "target tokens", "M"),
    *("best valid loss", "best valid ppl", "best valid BLEU"),
)


def outlook_text(run: TrainingRun) -> str | None:
    """Return when the last line was written and when the run will end, None if it has ended.

    Args:
        run: any.
    """
    if run.ending != "unfinished":
        return None
    text = f"{run.name} is not finished"
    if run.text.ended is not None:
        text += f"; last line {clock(run.text.ended)}"
        if run.outlook.seconds:
            text += f", expected end {clock(run.text.ended + run.outlook.seconds)}"
    return f"{text}."


def clock(seconds: float) -> str:
    """Return a time on the clock of the log.

    Args:
        seconds: since 1970, as if the log's clock were UTC.

    Example:
        >>> clock(86400.0)
        '1970-01-02 00:00'
    """
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def replicas_of(run: TrainingRun) -> str:
    """Return M, least to most where it changed; 1 where none is logged."""
    values = run.train.get("bas_replicas")
    values = values[np.isfinite(values)]
    if not len(values):
        return "1"
    low, high = f"{values.min():g}", f"{values.max():g}"
    return low if low == high else f"{low} to {high}"


def _least(run: TrainingRun, column: str, factor: float = 1.0) -> float:
    values = factor * run.valid.get(column)
    values = values[np.isfinite(values)]
    return float(values.min()) if len(values) else math.nan
