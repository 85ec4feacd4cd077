"""Arguments of the commands that look at the loss of checkpoints on a fixed piece of text."""

import argparse

from .checkpoint_arguments import (
    add_checkpoint_arguments,
    add_choice_arguments,
    checkpoint_paths,
)

MAX_TOKENS = 4096
SENTENCES = 512


def add_surface_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which checkpoints, which text, which loss and where to compute.

    Args:
        parser: parser of a command.
    """
    add_checkpoint_arguments(parser)
    group = parser.add_argument_group("text and loss")
    add_choice_arguments(group)
    group.add_argument(
        "--sentences",
        type=int,
        default=SENTENCES,
        metavar="N",
        help="sentences to read, chosen at random; of a text without translation, windows of the "
        "model's --tokens-per-sample, each read from a zero state (default: %(default)s)",
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


def surface_paths(args: argparse.Namespace) -> list[str]:
    """Return the checkpoints, after checking what can be checked before any work.

    Args:
        args: what `add_surface_arguments` asked for.

    Returns:
        At least one path, each once.

    Raises:
        ValueError: if an argument is out of range or a file cannot be read or written.
    """
    for flag, value in (("--sentences", args.sentences), ("--max-tokens", args.max_tokens)):
        if value < 1:
            raise ValueError(f"{flag} {value} reads nothing; pass 1 or more")
    if args.seed < 0:
        raise ValueError(f"--seed {args.seed} is negative; pass 0 or more")
    return checkpoint_paths(args)
