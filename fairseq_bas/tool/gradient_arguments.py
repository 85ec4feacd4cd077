"""Arguments of the commands that measure the variance of gradients."""

import argparse

from .checkpoint_arguments import (
    add_checkpoint_arguments,
    add_choice_arguments,
    checkpoint_paths,
)

BATCHES = 32


def add_gradient_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which checkpoints, which text, how much of it, and where to compute.

    Args:
        parser: parser of a command.
    """
    add_checkpoint_arguments(parser)
    group = parser.add_argument_group("what is measured")
    add_choice_arguments(group)
    add = group.add_argument
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


def gradient_paths(args: argparse.Namespace) -> list[str]:
    """Return the checkpoints, after checking what can be checked before any work.

    Args:
        args: what `add_gradient_arguments` asked for.

    Raises:
        ValueError: if an argument is out of range or a file cannot be read or written.
    """
    paths = checkpoint_paths(args)
    if args.batches < 3:
        raise ValueError(
            f"--batches {args.batches} shows no error bar; pass at least 3, better 16 or more"
        )
    if args.max_tokens is not None and args.max_tokens < 1:
        raise ValueError(f"--max-tokens {args.max_tokens} holds no word; pass 1 or more")
    return paths
