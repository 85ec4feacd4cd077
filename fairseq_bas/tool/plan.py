"""Print and plot, before any training, what a fairseq-train command line will do.

All flags are those of fairseq-train. Batches, copies and learning rates are decided by the code of
training, on the sizes of the real data, for as many workers as --distributed-world-size says; none
is started, and nothing is trained or written but the reports.
"""

import argparse
import os
from typing import Any

from .report_files import check_reports, deliver, require_matplotlib

TAKES_OTHER_FLAGS = True
"""The command line may have flags that ``add_arguments`` does not name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; it takes those of fairseq-train besides.

    Args:
        parser: parser of ``fairseq-bas plan``.
    """
    parser.allow_abbrev = False  # or flags of fairseq-train would pass for ours
    parser.usage = (
        "%(prog)s [-h] [--json FILE] [--figure FILE] [--no-memory] DATA [flags of fairseq-train]"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON")
    parser.add_argument("--figure", metavar="FILE", help="draw the plan into a PNG file")
    parser.add_argument(
        "--no-memory",
        action="store_true",
        help="leave out the estimate of memory, for which a few sentences are run on the CPU",
    )


def run(args: argparse.Namespace) -> int:
    """Plan the run, print the report, write the files.

    Args:
        args: what `add_arguments` asked for, and ``other_flags``, those of fairseq-train.

    Returns:
        0.

    Raises:
        ValueError: if the input is refused.
        UserError: for what training would refuse.
        OSError: if a report cannot be written.
    """
    flags = list(args.other_flags)
    check_reports([args.json, args.figure], inputs=[])
    if not flags:
        raise ValueError(
            "there is no run to plan; give the data directory and the flags of fairseq-train"
        )
    require_matplotlib(args.figure)
    # fairseq takes seconds to import, which wrong usage should not cost.
    from .plan_report import json_report
    from .plan_text import text_report

    report = make_report(flags, with_memory=not args.no_memory)
    return deliver(
        args,
        text_report(report),
        lambda: json_report(report),
        lambda path: _draw(path, report),
    )


def make_report(flags: list[str], with_memory: bool = True) -> Any:
    """Plan a run.

    Args:
        flags: data directory and flags of fairseq-train.
        with_memory: estimate memory too.

    Returns:
        The ``plan_report.Report``.

    Raises:
        ValueError: if the input is refused.
        UserError: for what training would refuse.
    """
    from .plan_facts import facts_of
    from .plan_memory import estimate_memory
    from .plan_report import Report, notes_of
    from .plan_run import plan
    from .plan_setup import PlannedSetup, read_flags
    from .plan_warnings import merged, warnings_of

    cfg = read_flags(flags)
    planned = plan(PlannedSetup(cfg))
    memory = None
    if with_memory:
        largest = max(planned.courses, key=lambda course: course.table.totals.largest_replicas)
        rounds = max(course.largest_rounds for course in planned.courses)
        memory = estimate_memory(planned.setup, planned.iterator, largest.largest_clock, rounds)
    warnings = merged(
        {str(course.outlook): warnings_of(facts_of(planned, course)) for course in planned.courses}
    )
    return Report(planned, memory, warnings, notes_of(planned, checkpoint_to_resume(cfg)), flags)


def checkpoint_to_resume(cfg: Any) -> str | None:
    """Return the checkpoint that training would go on from, if there is one.

    Args:
        cfg: fairseq's config.
    """
    restored = cfg.checkpoint.restore_file
    in_folder = os.path.join(cfg.checkpoint.save_dir, os.path.basename(restored))
    return next((path for path in (restored, in_folder) if os.path.isfile(path)), None)


def _draw(path: str, report: Any) -> None:
    from .plan_figure import draw_plan
    from .plan_report import rules_of

    plan = report.plan
    courses = {course.outlook or "": course.table.rows for course in plan.courses}
    rules = "; ".join(
        f"{name}: {text}"
        for name, text in rules_of(plan).items()
        if name in ("batch", "learning rate")
    )
    draw_plan(path, courses, plan.base.target_tokens, rules)
