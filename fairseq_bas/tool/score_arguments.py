"""Arguments of the commands that score translations and test systems against the first."""

import argparse

from .system_score import DEFAULT_TRIALS


def add_test_arguments(parser: argparse.ArgumentParser, tested: str) -> None:
    """Add the kind of paired test, and the leave to score subwords.

    Args:
        parser: parser of a command.
        tested: what ``--test`` is, for ``--help``.
    """
    parser.add_argument(
        "--test",
        choices=list(DEFAULT_TRIALS),
        default="bootstrap",
        help=f"{tested} (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-subword",
        action="store_true",
        help="score text with @@ or ▁ in it, which otherwise is refused as subwords",
    )
