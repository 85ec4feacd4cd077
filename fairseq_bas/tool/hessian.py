"""Measure the curvature of the loss at checkpoints: top eigenvalues, trace and spectral density.

Everything is computed from products of the Hessian with vectors; the Hessian itself, the square of
the number of parameters, is never there.
"""

import argparse

from .report_files import deliver
from .surface_options import add_surface_arguments, surface_paths

METHODS = ("auto", "double", "difference")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas hessian``.
    """
    add_surface_arguments(parser)
    add = parser.add_argument_group("what to measure; 0 leaves a part out").add_argument
    add(
        "--top",
        type=int,
        default=5,
        metavar="K",
        help="largest eigenvalues to find (default: %(default)s)",
    )
    add(
        "--smallest",
        type=int,
        default=0,
        metavar="K",
        help="smallest, most negative eigenvalues to find (default: %(default)s)",
    )
    add(
        "--trace-vectors",
        type=int,
        default=20,
        metavar="N",
        help="random vectors for the trace, 2 or more for an error bar (default: %(default)s)",
    )
    add(
        "--density-steps",
        type=int,
        default=40,
        metavar="M",
        help="Lanczos steps for the spectral density; more resolve it finer (default: %(default)s)",
    )
    add(
        "--density-vectors",
        type=int,
        default=2,
        metavar="NV",
        help="random vectors, each with that many steps (default: %(default)s)",
    )
    add = parser.add_argument_group("how").add_argument
    add(
        "--method",
        choices=METHODS,
        default="auto",
        help="double: differentiate the gradient; difference: central differences of gradients, "
        "for models that know their first derivative only; auto: double where it works "
        "(default: auto)",
    )
    add(
        "--gauss-newton",
        action="store_true",
        help="measure the Gauss-Newton matrix instead, which leaves the curvature of the network "
        "out and has no negative eigenvalue",
    )
    add(
        "--tolerance",
        type=float,
        default=1e-3,
        metavar="X",
        help="residual of an eigenvalue, as a share of it, at which it counts as found "
        "(default: %(default)s)",
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
    _check(args)
    # fairseq takes seconds to import, which wrong usage should not cost.
    from .hessian_figure import draw_hessian
    from .hessian_report import json_report, text_report
    from .hessian_run import measure

    results = measure(args, paths)
    return deliver(
        args,
        text_report(results),
        lambda: json_report(results, vars(args)),
        lambda path: draw_hessian(path, results),
    )


def _check(args: argparse.Namespace) -> None:
    """Refuse what can be refused without loading."""
    for name in ("top", "smallest", "trace_vectors", "density_steps", "density_vectors"):
        if getattr(args, name) < 0:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} {getattr(args, name)} is negative; pass 0 to leave it out")
    has_density = args.density_steps and args.density_vectors
    if not (args.top or args.smallest or args.trace_vectors or has_density):
        raise ValueError("nothing is left to measure; ask for --top, --trace-vectors or a density")
    if args.figure and not (args.top or args.smallest or has_density):
        raise ValueError("--figure shows eigenvalues and their density; ask for --top 5")
    if not 0 < args.tolerance < 1:
        raise ValueError(f"--tolerance {args.tolerance:g} is no small share; pass 1e-3")
    if args.gauss_newton and args.method != "auto":
        raise ValueError(
            f"--method {args.method} is about the Hessian itself; leave it out with --gauss-newton"
        )
