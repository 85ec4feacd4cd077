"""Arguments of the commands that measure the variance of gradients."""

import argparse
import os

from .report_files import check_reports
from .surface_report import require_matplotlib

BATCHES = 32


def add_gradient_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which checkpoints, which text, how much of it, and where to compute.

    Args:
        parser: parser of a command.
    """
    add = parser.add_argument
    add("data", metavar="DATA", help="data directory of fairseq-preprocess")
    add(
        "--path",
        required=True,
        metavar="CKPT",
        help=f"checkpoint of a translation or language model; several are joined by {os.pathsep!r}",
    )
    add("--json", metavar="FILE", help="write everything as JSON")
    add("--figure", metavar="FILE", help="draw a figure, a PNG; needs matplotlib")
    add("--cpu", action="store_true", help="do not use a GPU")
    group = parser.add_argument_group("what is measured")
    add = group.add_argument
    add("--split", default="train", metavar="NAME", help="split to read (default: %(default)s)")
    add(
        "--batches",
        type=int,
        default=BATCHES,
        metavar="K",
        help="micro-batches of random sentences; more make error bars smaller "
        "(default: %(default)s)",
    )
    add(
        "--max-tokens",
        type=int,
        metavar="N",
        help="tokens of a forward pass with its padding (default: as in the checkpoint's run)",
    )
    add("--seed", type=int, default=1, metavar="S", help="seed of every choice (default: 1)")


def checked_paths(args: argparse.Namespace) -> list[str]:
    """Return the checkpoints, after checking what can be checked before any work.

    Args:
        args: what `add_gradient_arguments` asked for.

    Raises:
        ValueError: if an argument is out of range or a file cannot be read or written.
    """
    paths = [path for path in args.path.split(os.pathsep) if path]
    if not paths or len(set(paths)) < len(paths):
        raise ValueError(f"--path {args.path!r} names no checkpoint or one twice; name each once")
    for path in paths:
        if not os.path.isfile(path):
            raise ValueError(f"checkpoint {path} does not exist; check --path")
    check_reports([args.json, args.figure], inputs=paths)
    if args.batches < 3:
        raise ValueError(
            f"--batches {args.batches} shows no error bar; pass at least 3, better 16 or more"
        )
    if args.max_tokens is not None and args.max_tokens < 1:
        raise ValueError(f"--max-tokens {args.max_tokens} holds no word; pass 1 or more")
    require_matplotlib(args.figure)
    return paths
