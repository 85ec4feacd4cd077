"""Check the environment, the data, checkpoints and the flags of a run before it is started.

Without anything it looks at the environment; with DATA at the data too; with flags of
fairseq-train besides also at the run they ask for. Nothing is trained, and nothing is written but
the report. Exit code 1 if a run would fail.
"""

import argparse
import os

from .check_findings import PROBLEM, Section, count
from .report_files import check_reports, write_report

TAKES_OTHER_FLAGS = True
"""The command line may have flags that ``add_arguments`` does not name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; it takes those of fairseq-train besides.

    Args:
        parser: parser of ``fairseq-bas check``.
    """
    parser.allow_abbrev = False  # or flags of fairseq-train would pass for ours
    parser.usage = "%(prog)s [-h] [--path CKPT] [--json FILE] [DATA [flags of fairseq-train]]"
    parser.add_argument(
        "--path",
        metavar="CKPT",
        help=f"checkpoint to check; several are joined by {os.pathsep!r}",
    )
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Check, print the report, write the file.

    Args:
        args: what `add_arguments` asked for, and ``other_flags``, DATA and those of fairseq-train.

    Returns:
        1 if a run would fail, else 0.

    Raises:
        ValueError: if the report cannot be written where it should be.
        OSError: the same, found later.
    """
    from .check_text import json_report, text_report

    paths = [path for path in (args.path or "").split(os.pathsep) if path]
    check_reports([args.json], inputs=paths)
    if args.path is not None and not paths:
        raise ValueError(f"--path {args.path!r} names no checkpoint; name a file or leave it out")
    sections = make_sections(list(args.other_flags), paths)
    exit_code = int(count(sections, PROBLEM) > 0)
    print(text_report(sections), end="")
    if args.json:
        write_report(args.json, [json_report(sections, exit_code)])
    return exit_code


def make_sections(flags: list[str], checkpoints: list[str]) -> list[Section]:
    """Check everything that was named.

    Args:
        flags: the data directory, and flags of ``fairseq-train``; both may be left out.
        checkpoints: paths.

    Returns:
        What was found, in the order of the report.
    """
    from .check_environment import check_environment

    environment = check_environment()
    sections = [environment]
    if count(sections, PROBLEM):  # what follows needs the libraries
        return sections
    from .check_checkpoint import check_checkpoint
    from .check_data import check_data, directories_of
    from .check_run import CheckedRun, data_of

    has_run = any(flag.startswith("-") for flag in flags)
    checked_run = CheckedRun(flags) if has_run else None
    corpora = []
    for directory in directories_of(data_of(checked_run, flags)):
        section, found = check_data(directory)
        sections.append(section)
        corpora += found
    vocabularies = [corpus.vocabularies for corpus in corpora]
    sections += [check_checkpoint(path, vocabularies) for path in checkpoints]
    if checked_run is not None:
        sections.append(checked_run.check())
    return sections
