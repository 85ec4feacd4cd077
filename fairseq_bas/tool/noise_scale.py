"""Measure the gradient noise scale of checkpoints: the batch beyond which more data buys little.

The gradients of random micro-batches are compared with their mean, in training mode, one copy of
every sentence. Batches of sentences of like length, as fairseq makes them, are measured besides.
"""

import argparse
import warnings

from .gradient_arguments import add_gradient_arguments, gradient_paths
from .report_files import deliver


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas noise-scale``.
    """
    add_gradient_arguments(parser)
    add = parser.add_argument
    add(
        "--repeats",
        type=int,
        default=1,
        metavar="R",
        help="measure so many times on other micro-batches, to see that the error bars hold; the "
        "result is of all together (default: 1)",
    )
    add(
        "--no-noise",
        action="store_true",
        help="without dropout and noise of training: what varies is the text alone",
    )
    add(
        "--at",
        metavar="TOKENS",
        help="batches to judge, in target tokens, such as 4096,25000 (default: powers of two "
        "around the noise scale, and the batch of the run)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the files.

    Args:
        args: what `add_arguments` asked for.

    Returns:
        0.

    Raises:
        ValueError: if the input is refused.
        UserError: for what training would refuse.
        OSError: if a report cannot be written.
    """
    paths = gradient_paths(args)
    batches = check(args)
    # fairseq takes seconds to import, which wrong usage should not cost.
    from .noise_scale_figure import draw_noise_scales
    from .noise_scale_report import json_report, text_report
    from .noise_scale_run import measure

    with warnings.catch_warnings(action="ignore"):  # of fairseq and torch about each other
        results = [measure(args, path) for path in paths]
    return deliver(
        args,
        text_report(results, batches),
        lambda: json_report(results, batches, vars(args)),
        lambda path: draw_noise_scales(path, results),
    )


def check(args: argparse.Namespace) -> list[float]:
    """Refuse what can be refused without loading.

    Args:
        args: what `add_arguments` asked for.

    Returns:
        The batches of ``--at``.

    Raises:
        ValueError: in one sentence.
    """
    if args.repeats < 1:
        raise ValueError(f"--repeats {args.repeats} measures nothing; pass 1 or more")
    return _batches(args.at)


def _batches(text: str | None) -> list[float]:
    """Read --at."""
    try:
        batches = [float(word) for word in text.split(",")] if text else []
    except ValueError:
        batches = [0.0]
    if not all(0 < batch < float("inf") for batch in batches):
        raise ValueError(
            f"--at {text} is no list of numbers of target tokens; pass such as 4096,25000"
        )
    return sorted(set(batches))
