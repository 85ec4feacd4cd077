"""All numbers of runs as tab-separated values."""

import csv
import io
import math
from collections.abc import Sequence

from ..tool.training_run import TrainingRun


def tsv_of(runs: Sequence[TrainingRun]) -> str:
    """Return a line for each line of a log that has numbers.

    Args:
        runs: in the order of the report.

    Returns:
        Columns ``run``, ``part`` (``train``, ``epoch`` or ``valid``), those of every table, then
        what the logs have; empty where a line does not have it.
    """
    parts = [
        (run.name, part, table)
        for run in runs
        for part, table in (("train", run.train), ("epoch", run.epochs), ("valid", run.valid))
        # Without lines of updates, the lines of epochs stand for training.
        if not (part == "train" and table is run.epochs)
    ]
    names = list(dict.fromkeys(name for _, _, table in parts for name in table))
    text = io.StringIO()
    writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    writer.writerow(["run", "part", *names])
    for run, part, table in parts:
        columns = [table.get(name) for name in names]
        for row in zip(*(column.tolist() for column in columns), strict=True):
            writer.writerow([run, part, *(_cell(value) for value in row)])
    return text.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"
