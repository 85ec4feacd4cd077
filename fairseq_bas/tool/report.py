"""Write one HTML page about training runs: figures, scores, warnings, flags that differ.

Reads logs and checkpoints without fairseq, also of runs that are not finished. The page needs no
network. Beside FILE.html, the folder FILE_files has every figure as PNG and all numbers in
runs.tsv.
"""

import argparse
import importlib.util
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .report_files import check_reports, write_bytes, write_report
from .score_arguments import add_test_arguments
from .system_score import ScoreSettings

if TYPE_CHECKING:
    from ..report.chart import Chart
    from ..report.scores import Scores
    from .training_run import TrainingRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas report``.
    """
    add = parser.add_argument
    add(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder of a run, or its log; NAME=PATH names it. A folder has the log in train.log, "
        "or in files .log, .out, .err or .txt",
    )
    add("--out", required=True, metavar="FILE", help="page to write, FILE.html")
    add("--title", default="Training runs", help="heading of the page (default: %(default)s)")
    add(
        "--scores",
        action="append",
        default=[],
        metavar="FILE",
        help="scores from fairseq-bas score --json; may be given several times",
    )
    add(
        "--ref",
        action="append",
        default=[],
        metavar="REF",
        help="raw reference: score the files .gen in the folders of the runs against it",
    )
    add_test_arguments(parser, "paired test of --ref against the first run")
    add("--no-png", action="store_true", help="write no PNG figures, which take matplotlib")
    add("--no-checkpoints", action="store_true", help="read the logs only")


def run(args: argparse.Namespace) -> int:
    """Read the runs, write the page, its figures and its table.

    Args:
        args: what `add_arguments` asked for.

    Returns:
        0.

    Raises:
        ValueError: if the input is refused.
        OSError: if a file cannot be written.
    """
    named = [_named(text) for text in args.runs]
    logs = [path for _, path in named if Path(path).is_file()]
    check_reports([args.out], inputs=[*logs, *args.scores, *args.ref])
    if not args.out.lower().endswith((".html", ".htm")):
        raise ValueError(f"--out {args.out} is no page; choose a name that ends in .html")
    if not args.no_png and importlib.util.find_spec("matplotlib") is None:
        raise ValueError(
            "PNG figures need matplotlib, which is not installed; run pip install matplotlib, or "
            "pass --no-png"
        )
    from ..report.figures import charts_of
    from ..report.page import Report, page_of
    from ..report.tsv import tsv_of

    runs = _load(named, not args.no_checkpoints)
    rows, scores = charts_of(runs), _scores(args, runs)
    charts = [chart for row in rows for chart in row.charts]
    out = Path(args.out)
    folder = out.with_name(f"{out.stem}_files")
    folder.mkdir(exist_ok=True)
    write_report(str(folder / "runs.tsv"), [tsv_of(runs)])
    if not args.no_png:
        _draw(charts, folder)
    made = time.strftime("%Y-%m-%d %H:%M")
    page = page_of(Report(args.title, runs, rows, scores, made, folder.name))
    write_report(args.out, [page])
    print(f"{args.out}: {len(runs)} run{'s' * (len(runs) > 1)}, {len(charts)} figures")
    return 0


def _named(text: str) -> tuple[str | None, str]:
    """Divide ``NAME=PATH``; a path that exists as it is has no name."""
    name, equals, path = text.partition("=")
    if not equals or "/" in name or Path(text).exists():
        return None, text
    if not name.strip() or not name.isprintable():
        raise ValueError(f"{text} gives no printable name; write NAME=PATH, or the path alone")
    return name.strip(), path


def _load(named: list[tuple[str | None, str]], checkpoints: bool) -> "list[TrainingRun]":
    """Read the runs; two of the same name are refused."""
    from .training_run import load_run

    runs: list[TrainingRun] = []
    for name, path in named:
        loaded = load_run(path, name, checkpoints)
        if any(loaded.name == other.name for other in runs):
            raise ValueError(f"two runs are called {loaded.name}; name them by NAME=PATH")
        runs.append(loaded)
    return runs


def _scores(args: argparse.Namespace, runs: "list[TrainingRun]") -> "list[Scores]":
    from ..report.scores import read_scores, score_runs

    scores = [read_scores(path) for path in args.scores]
    if args.ref:
        settings = ScoreSettings(test=args.test)
        scores.append(score_runs(runs, args.ref, settings, args.allow_subword))
    return scores


def _draw(charts: "list[Chart]", folder: Path) -> None:
    """Write the PNG figures."""
    from ..report.png import png_of

    for chart in charts:
        name = re.sub(r"[^a-z0-9-]", "", chart.key)
        write_bytes(str(folder / f"{name}.png"), png_of(chart))
