"""Measure how far the loss of checkpoints rises in a small box around them, Keskar et al.'s phi.

Models trained with large batches tend to have a larger value. Values are comparable only where all
conventions are equal, which the report and the JSON record; they can be changed by rescaling layers
that cancel each other, so no decision should rest on them alone.
"""

import argparse

from .report_files import deliver
from .surface_options import add_surface_arguments, surface_paths

DIMENSION = 100
EPSILONS = (1e-3, 5e-4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas sharpness``.
    """
    add_surface_arguments(parser)
    _add_box(parser.add_argument_group("box"))
    _add_space(parser.add_argument_group("space"))
    _add_search(parser.add_argument_group("search"))


def _add_box(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--epsilon",
        type=float,
        nargs="+",
        default=list(EPSILONS),
        metavar="X",
        help="half-width of the box, relative to one plus the size of a coordinate "
        f"(default: {' '.join(f'{value:g}' for value in EPSILONS)}, those published)",
    )
    add(
        "--box",
        choices=["keskar", "adaptive"],
        default="keskar",
        help="keskar: epsilon times (size of the coordinate + 1); adaptive: epsilon times its "
        "size, which with --full does not change when layers are rescaled (default: keskar)",
    )


def _add_space(group: argparse._ArgumentGroup) -> None:
    space = group.add_mutually_exclusive_group()
    space.add_argument(
        "--subspace",
        type=int,
        default=DIMENSION,
        metavar="P",
        help="random directions to search in (default: %(default)s)",
    )
    space.add_argument(
        "--full",
        action="store_true",
        help="search in all parameters instead; takes about 300 bytes of memory for each",
    )
    group.add_argument(
        "--columns",
        choices=["normal", "unit"],
        default="normal",
        help="random directions with elements from N(0, 1), or of length 1, for which values are "
        "smaller by orders of magnitude; the paper does not say which (default: normal)",
    )


def _add_search(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--iterations",
        type=int,
        default=10,
        metavar="N",
        help="of L-BFGS-B (default: %(default)s, as published)",
    )
    add(
        "--starts",
        type=int,
        default=3,
        metavar="N",
        help="random points of the box to start from; the best counts (default: %(default)s)",
    )
    add(
        "--scaling",
        choices=["box", "none"],
        default="box",
        help="box: search in units of the box, so that the first step crosses it whatever the size "
        "of the gradient; none: as L-BFGS-B comes (default: box)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the files.

    Args:
        args: what `add_arguments` asked for.

    Returns:
        0.

    Raises:
        ValueError: if the input is refused.
        UserError: if a checkpoint is damaged.
        OSError: if a report cannot be written.
    """
    paths = surface_paths(args)
    check(args)
    # fairseq takes seconds to import, which wrong usage should not cost.
    from .sharpness_figure import draw_sharpness
    from .sharpness_report import json_report, text_report
    from .sharpness_run import measure

    results = measure(args, paths)
    return deliver(
        args,
        text_report(results, args),
        lambda: json_report(results, vars(args)),
        lambda path: draw_sharpness(path, results),
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what can be refused without loading.

    Args:
        args: what `add_arguments` asked for.

    Raises:
        ValueError: in one sentence.
    """
    for value in args.epsilon:
        if not 0 < value < 1:
            raise ValueError(f"--epsilon {value:g} makes no small box; pass values such as 1e-3")
    if len(set(args.epsilon)) < len(args.epsilon):
        raise ValueError("--epsilon names a value twice; name each once")
    for flag in ("subspace", "iterations", "starts"):
        if getattr(args, flag) < 1:
            raise ValueError(f"--{flag} {getattr(args, flag)} finds nothing; pass 1 or more")
