"""For notebooks: runs as tables, scores, figures and diagnostics, as plain functions.

The import takes neither fairseq nor torch; only diagnostics load a model. Everything raises
``ValueError`` with one sentence for input that is refused; ``docs/notebook.py`` shows all of it.
"""

import argparse
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .tool.run_table import Table
from .tool.system_score import ScoreSettings, SystemScore
from .tool.training_run import TrainingRun, load_run

__all__ = [
    "Table",
    "TrainingRun",
    "load_run",
    "noise_scale",
    "plot",
    "replica_variance",
    "report",
    "score",
    "sharpness",
]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def score(
    systems: Mapping[str, str | os.PathLike[str]],
    references: Paths,
    settings: ScoreSettings | None = None,
) -> list[SystemScore]:
    """Score translations as ``fairseq-bas score`` does.

    Args:
        systems: name -> ``fairseq-generate`` log or text; the first is the baseline of the tests.
        references: raw references, one sentence a line.
        settings: metrics and test; the defaults of the command if None.

    Returns:
        The scores of each system.

    Raises:
        ValueError: if the texts cannot be scored.
    """
    from .tool.hypotheses import read_hypotheses, read_reference
    from .tool.paired_score import score_systems

    texts = {name: read_hypotheses(os.fspath(path)).sentences for name, path in systems.items()}
    return score_systems(
        texts, {path: read_reference(path) for path in _paths(references)}, settings
    )


def plot(
    runs: Sequence[TrainingRun], quantity: str = "loss", over: str = "updates", axes: Any = None
) -> Any:
    """Draw one quantity of runs by matplotlib.

    Args:
        runs: the runs.
        quantity: ``loss``, ``nll-loss``, ``ppl``, ``bleu``, or one that is drawn over updates
            only, such as ``batch``, ``lr``, ``gnorm``, ``noise-scale``, ``wps``.
        over: ``updates``, ``tokens`` or ``hours``.
        axes: ``matplotlib.axes.Axes`` to draw into; new ones of ``pyplot`` if None.

    Returns:
        The axes.

    Raises:
        ValueError: if no run has the quantity, or matplotlib is not installed.
    """
    from .report.figures import charts_of
    from .report.png import draw

    charts = {chart.key: chart for row in charts_of(runs) for chart in row.charts}
    chart = charts.get(f"{quantity}-{over}") or (
        charts.get(quantity) if over == "updates" else None
    )
    if chart is None:
        raise ValueError(f"no run has {quantity} over {over}; there are {', '.join(charts)}")
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ValueError(
                "plot needs matplotlib, which is not installed; run pip install matplotlib"
            ) from error
        axes = pyplot.subplots(layout="constrained")[1]
    draw(chart, axes)
    return axes


def report(runs: Sequence[TrainingRun], title: str = "Training runs") -> str:
    """Return the page of ``fairseq-bas report`` as HTML.

    Args:
        runs: the runs.
        title: of the page.
    """
    from .report.figures import charts_of
    from .report.page import Report, page_of

    return page_of(Report(title, runs, charts_of(runs)))


def sharpness(data: str | os.PathLike[str], checkpoints: Paths, **options: Any) -> list[Any]:
    """Measure how far the loss rises in a small box, as ``fairseq-bas sharpness`` does.

    Args:
        data: data directory of ``fairseq-preprocess``.
        checkpoints: one or several.
        **options: those of the command, with underscores: ``sentences=64, starts=1, cpu=True``.

    Returns:
        ``sharpness_run.CheckpointSharpness`` of each checkpoint.

    Raises:
        ValueError: if an argument, checkpoint or text is refused.
    """
    from .tool import sharpness as command
    from .tool.surface_options import surface_paths

    args = _arguments(command.add_arguments, data, checkpoints, options)
    paths = surface_paths(args)
    command.check(args)
    from .tool.sharpness_run import measure  # fairseq takes seconds to import

    return measure(args, paths)


def noise_scale(data: str | os.PathLike[str], checkpoints: Paths, **options: Any) -> list[Any]:
    """Measure the gradient noise scale, as ``fairseq-bas noise-scale`` does.

    Args:
        data: data directory of ``fairseq-preprocess``.
        checkpoints: one or several.
        **options: those of the command, with underscores: ``batches=16, cpu=True``.

    Returns:
        ``noise_scale_run.NoiseScaleResult`` of each checkpoint.

    Raises:
        ValueError: if an argument, checkpoint or text is refused.
    """
    from .tool import noise_scale as command
    from .tool.gradient_arguments import gradient_paths

    args = _arguments(command.add_arguments, data, checkpoints, options)
    paths = gradient_paths(args)
    command.check(args)
    from .tool.noise_scale_run import measure

    with warnings.catch_warnings(action="ignore"):  # of fairseq and torch about each other
        return [measure(args, path) for path in paths]


def replica_variance(data: str | os.PathLike[str], checkpoints: Paths, **options: Any) -> list[Any]:
    """Measure what copies do to the variance, as ``fairseq-bas replica-variance`` does.

    Args:
        data: data directory of ``fairseq-preprocess``.
        checkpoints: one or several.
        **options: those of the command, with underscores: ``copies=4, replicas="1,2,4"``.

    Returns:
        ``replica_variance_run.CheckpointResult`` of each checkpoint.

    Raises:
        ValueError: if an argument, checkpoint or text is refused.
    """
    from .tool import replica_variance as command
    from .tool.gradient_arguments import gradient_paths

    args = _arguments(command.add_arguments, data, checkpoints, options)
    paths = gradient_paths(args)
    settings, replicas, cost = command.settings_of(args)
    from .tool.replica_variance_run import measure

    with warnings.catch_warnings(action="ignore"):
        return [measure(args, path, settings, replicas, cost) for path in paths]


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see the options of the command's --help")


def _arguments(
    add_arguments: Any,
    data: str | os.PathLike[str],
    checkpoints: Paths,
    options: Mapping[str, Any],
) -> argparse.Namespace:
    """Return what the command line would give."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_arguments(parser)
    words = [os.fspath(data), "--path", os.pathsep.join(_paths(checkpoints))]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words += [flag, *map(str, value)]
        elif value is not False and value is not None:
            words.append(f"{flag}={value}")
    return parser.parse_args(words)


def _paths(paths: Paths) -> list[str]:
    """Return paths as a list, also of one."""
    if isinstance(paths, str | os.PathLike):
        return [str(Path(paths))]
    return [str(Path(path)) for path in paths]
