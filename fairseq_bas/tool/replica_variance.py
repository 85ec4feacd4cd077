"""Measure what copies of sentences are worth, by noise and number, and which M is worth its price.

Gradients of copies of the same sentences are compared with each other and with those of other
sentences, in training mode; the noise is the model's own, the run's, and any that flags describe.
"""

import argparse
import warnings

from .gradient_arguments import add_gradient_arguments, gradient_paths
from .replica_variance_settings import (
    NoiseSetting,
    parse_cost,
    parse_noise_settings,
    parse_replicas,
)
from .report_files import deliver

COPIES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas replica-variance``.
    """
    add_gradient_arguments(parser)
    add = parser.add_argument
    add(
        "--noise",
        action="append",
        default=[],
        metavar="NAME=FLAGS",
        help="also measure the run with these flags of fairseq-train in place of its own noise, "
        'such as "drop = --bas-source-noise drop=0.1"; may be given several times',
    )
    add(
        "--replicas",
        default="1,2,4,8,16,32",
        metavar="M,M,...",
        help="numbers of copies to judge (default: %(default)s)",
    )
    add(
        "--copies",
        type=int,
        default=COPIES,
        metavar="R",
        help="copies that are measured, at least 2; what M copies do is predicted from them "
        "(default: %(default)s)",
    )
    add(
        "--cost",
        default="passes",
        metavar="PRICE",
        help="price of an update with M copies: passes (M times that with one), rows (measured "
        "here, with all copies side by side), or given, relative to one copy, such as "
        "2=1.6,4=2.9 (default: passes)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables and an answer, write the files.

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
    settings, replicas, cost = settings_of(args)
    # fairseq takes seconds to import, which wrong usage should not cost.
    from .replica_variance_figure import draw_replica_variance
    from .replica_variance_report import json_report, text_report
    from .replica_variance_run import measure

    with warnings.catch_warnings(action="ignore"):  # of fairseq and torch about each other
        results = [measure(args, path, settings, replicas, cost) for path in paths]
    return deliver(
        args,
        text_report(results),
        lambda: json_report(results, vars(args)),
        lambda path: draw_replica_variance(path, results),
    )


def settings_of(
    args: argparse.Namespace,
) -> tuple[list[NoiseSetting], list[int], str | dict[int, float]]:
    """Return kinds of noise, values of M and prices, after checking them without loading.

    Args:
        args: what `add_arguments` asked for.

    Raises:
        ValueError: if one of them is refused.
    """
    settings = parse_noise_settings(args.noise)
    replicas, cost = parse_replicas(args.replicas), parse_cost(args.cost)
    if args.copies < 2:
        raise ValueError(
            f"--copies {args.copies} shows no difference between copies; pass at least 2"
        )
    if isinstance(cost, dict):
        from ..measure.replica_variance import interpolated_costs  # which takes torch to import

        interpolated_costs(cost, replicas)  # refuses prices that make no sense
    return settings, replicas, cost
