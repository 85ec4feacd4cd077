"""Score translations with sacreBLEU, chrF and TER, and test systems against the first.

Python callers use `fairseq_bas.tool.paired_score.score_systems`, which this command wraps.
"""

import argparse
from collections.abc import Sequence

from .hypotheses import Hypotheses, read_hypotheses, read_reference
from .paired_score import score_systems
from .report_files import check_reports, write_report
from .score_arguments import add_test_arguments
from .score_table import json_report, text_report, tsv_report
from .system_score import METRICS, ScoreSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas score``.
    """
    add = parser.add_argument
    add(
        "hypotheses",
        nargs="+",
        metavar="HYP",
        help="output of a system: a fairseq-generate log, or text with one detokenised sentence "
        "a line; the first is the baseline of the tests",
    )
    add(
        "--ref",
        action="append",
        required=True,
        metavar="REF",
        help="raw reference, one sentence a line; repeat it for several references",
    )
    add(
        "--name",
        action="extend",
        nargs="+",
        metavar="NAME",
        help="names of the systems, one for each HYP, after them (default: the paths)",
    )
    add("--json", metavar="FILE", help="write everything as JSON")
    add("--tsv", metavar="FILE", help="write one line a system and metric, tab-separated")
    add_test_arguments(
        parser,
        "paired test against the first system; bootstrap also gives confidence intervals, for a "
        "single system too",
    )
    add(
        "--trials",
        type=int,
        metavar="N",
        help="resamples or shufflings (default: 1000 for bootstrap, 10000 for randomization)",
    )
    add("--seed", type=int, default=12345, help="seed of the test (default: %(default)s)")
    add(
        "--metrics",
        default=",".join(METRICS),
        metavar="LIST",
        help="some of %(default)s (default: all)",
    )
    add("--lowercase", action="store_true", help="ignore case in BLEU and chrF; TER always does")
    add("--tokenize", default="13a", help="tokenizer of BLEU (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Score the systems, print the table, write the files.

    Args:
        args: what `add_arguments` asked for.

    Returns:
        0.

    Raises:
        ValueError: if the input is refused.
        OSError: if a report cannot be written.
    """
    settings = ScoreSettings(
        metrics=tuple(name.strip().lower() for name in args.metrics.split(",")),
        lowercase=args.lowercase,
        tokenize=args.tokenize,
        test=args.test,
        trials=args.trials,
        seed=args.seed,
    )
    names = args.name or args.hypotheses
    _refuse_repeated("system", names, "pass distinct names with --name")
    _refuse_repeated("reference", args.ref, "pass each file once")
    if len(names) != len(args.hypotheses):
        raise ValueError(
            f"--name gives {len(names)} names for {len(args.hypotheses)} systems; name each system"
        )
    check_reports([args.json, args.tsv], inputs=[*args.ref, *args.hypotheses])
    references = {path: read_reference(path) for path in args.ref}
    outputs = dict(zip(names, map(read_hypotheses, args.hypotheses), strict=True))
    texts = {name: output.sentences for name, output in outputs.items()}
    scores = score_systems(texts, references, settings, args.allow_subword)
    print(text_report(scores, settings), end="")
    files = {name: _describe(output) for name, output in outputs.items()}
    if args.json:
        write_report(args.json, [json_report(scores, settings, files, args.ref)])
    if args.tsv:
        write_report(args.tsv, [tsv_report(scores, files)])
    return 0


def _refuse_repeated(what: str, names: Sequence[str], advice: str) -> None:
    """Raise ValueError if a name comes twice or would break a table."""
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{what} {name} is given twice; {advice}")
        if not name.strip() or not name.isprintable():
            raise ValueError(f"{what} {name!r} is not a printable name; {advice}")


def _describe(output: Hypotheses) -> dict[str, str | int]:
    """Return what the JSON report says of a system's file."""
    return {"path": output.path, "source": output.source, "sentences": len(output.sentences)}
