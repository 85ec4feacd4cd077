"""Arguments of the commands that measure the loss or its gradient at checkpoints."""

import argparse
import os

from .report_files import check_reports, require_matplotlib


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which checkpoints are measured, and where to compute and report.

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


def add_choice_arguments(group: argparse._ArgumentGroup) -> None:
    """Add what says from which text sentences are drawn, and by which seed.

    Args:
        group: of a command's parser.
    """
    add = group.add_argument
    add("--split", default="train", metavar="NAME", help="split to read (default: %(default)s)")
    add("--seed", type=int, default=1, metavar="S", help="seed of every choice (default: 1)")


def checkpoint_paths(args: argparse.Namespace) -> list[str]:
    """Return the checkpoints, after checking what `add_checkpoint_arguments` asked for.

    Args:
        args: arguments of the command; nothing is loaded.

    Returns:
        At least one path, each once.

    Raises:
        ValueError: if a file cannot be read or written, or a figure not be drawn.
    """
    paths = split_paths(args.path)
    for path in paths:
        if not os.path.isfile(path):
            raise ValueError(f"checkpoint {path} does not exist; check --path")
    check_reports([args.json, args.figure], inputs=paths)
    require_matplotlib(args.figure)
    return paths


def split_paths(text: str) -> list[str]:
    """Return the checkpoints that ``--path`` names.

    Raises:
        ValueError: if there is none, or one twice.

    >>> split_paths(os.pathsep.join(["a.pt", "b.pt"]))
    ['a.pt', 'b.pt']
    >>> split_paths("")
    Traceback (most recent call last):
    ValueError: --path '' names no checkpoint or one twice; name each once
    """
    paths = [path for path in text.split(os.pathsep) if path]
    if not paths or len(set(paths)) < len(paths):
        raise ValueError(f"--path {text!r} names no checkpoint or one twice; name each once")
    return paths
