"""Arguments of the commands that look at the loss of checkpoints on a fixed piece of text."""

import argparse
import os

MAX_TOKENS = 4096
SENTENCES = 512


def add_surface_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which checkpoints, which text, which loss and where to compute.

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
    group = parser.add_argument_group("text and loss")
    group.add_argument(
        "--split", default="train", metavar="NAME", help="split to read (default: %(default)s)"
    )
    group.add_argument(
        "--sentences",
        type=int,
        default=SENTENCES,
        metavar="N",
        help="sentences to read, chosen at random; of a text without translation, windows of the "
        "model's --tokens-per-sample, each read from a zero state (default: %(default)s)",
    )
    group.add_argument(
        "--seed", type=int, default=1, metavar="S", help="seed of every choice (default: 1)"
    )
    group.add_argument(
        "--max-tokens",
        type=int,
        default=MAX_TOKENS,
        metavar="N",
        help="tokens of a micro-batch with its padding; changes memory and time, not the result "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--loss",
        choices=["nll", "smoothed"],
        default="nll",
        help="nll: cross-entropy; smoothed: with the label smoothing of the checkpoint's training "
        "(default: nll)",
    )
    group.add_argument(
        "--float64", action="store_true", help="compute in float64 (default: float32)"
    )


def checkpoint_paths(args: argparse.Namespace) -> list[str]:
    """Return the checkpoints of ``--path``, after checking what can be checked without loading.

    Args:
        args: what `add_surface_arguments` asked for.

    Returns:
        At least one path, each once.

    Raises:
        ValueError: if a number, a path or a figure's name is refused.

    >>> checkpoint_paths(argparse.Namespace(path="", sentences=1, max_tokens=1, seed=1))
    Traceback (most recent call last):
    ValueError: --path '' names no checkpoint or one twice; name each once
    """
    paths = [path for path in args.path.split(os.pathsep) if path]
    if not paths or len(set(paths)) < len(paths):
        raise ValueError(f"--path {args.path!r} names no checkpoint or one twice; name each once")
    for flag, value in (("--sentences", args.sentences), ("--max-tokens", args.max_tokens)):
        if value < 1:
            raise ValueError(f"{flag} {value} reads nothing; pass 1 or more")
    if args.seed < 0:
        raise ValueError(f"--seed {args.seed} is negative; pass 0 or more")
    for path in paths:
        if not os.path.isfile(path):
            raise ValueError(f"checkpoint {path} does not exist; check --path")
    return paths
