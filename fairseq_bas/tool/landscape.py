"""Draw the loss between two checkpoints, or along random directions around them.

The line between a model of small and one of large batches is Keskar et al.'s; slices and planes
along filter-normalised random directions are Li et al.'s. Losses of several splits are measured at
the same points, and perplexity, or BLEU where it is asked for.
"""

import argparse

from .report_files import deliver
from .surface_options import add_surface_arguments, surface_paths

BETWEEN_TWO = ("line", "curve")
RANGES = {"line": (-1.0, 2.0), "curve": (-1.0, 2.0), "slice": (-1.0, 1.0), "plane": (-1.0, 1.0)}
POINTS = {"line": 25, "curve": 25, "slice": 25, "plane": 11}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas landscape``.
    """
    add_surface_arguments(parser)
    # Several, joined by commas as fairseq's --valid-subset has them.
    parser.set_defaults(split="train,valid")
    _add_places(parser.add_argument_group("where to look"))
    _add_bleu(parser.add_argument_group("BLEU"))


def _add_places(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--kind",
        choices=list(RANGES),
        help="line: from the first of two checkpoints at 0 to the second at 1; curve: the same "
        "along a quarter circle; slice: one random direction; plane: two (default: line for two "
        "checkpoints, else slice)",
    )
    add("--points", type=int, metavar="N", help="points of an axis (default: 25, of a plane 11)")
    add(
        "--from",
        type=float,
        dest="first",
        metavar="X",
        help="first coordinate (default: -1); write --from=-0.5",
    )
    add(
        "--to",
        type=float,
        dest="last",
        metavar="X",
        help="last coordinate (default: 2 of a line or curve, else 1)",
    )


def _add_bleu(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--bleu",
        action="store_true",
        help="translate the sentences of the last split at every point, which takes long",
    )
    add("--beam", type=int, metavar="N", help="hypotheses of the search (default: 1)")
    add(
        "--remove-bpe",
        metavar="NAME",
        help="how subwords become words: sentencepiece, subword_nmt or another --post-process of "
        "fairseq-generate (default: what the vocabulary looks like)",
    )
    add(
        "--tokenizer",
        metavar="NAME",
        help="how tokenised words become text, as --tokenizer of fairseq-generate (default: the "
        "--eval-bleu-detok of training)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the report, write the files.

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
    _complete(args, len(paths))
    # fairseq takes seconds to import, which wrong usage should not cost.
    from .landscape_figure import draw_landscape
    from .landscape_report import json_report, text_report
    from .landscape_run import measure

    landscape = measure(args, paths)
    return deliver(
        args,
        text_report(landscape),
        lambda: json_report(landscape, vars(args)),
        lambda path: draw_landscape(path, landscape),
    )


def splits_of(text: str) -> list[str]:
    """Return the names of ``--split``.

    Raises:
        ValueError: if there is none, or one twice.

    >>> splits_of("train,valid")
    ['train', 'valid']
    """
    splits = [name for name in text.split(",") if name]
    if not splits or len(set(splits)) < len(splits):
        raise ValueError(f"--split {text!r} names no split or one twice; name each once")
    return splits


def _complete(args: argparse.Namespace, checkpoints: int) -> None:
    """Fill in what follows from the checkpoints; raise ValueError for what does not go together."""
    splits_of(args.split)
    args.kind = args.kind or ("line" if checkpoints == 2 else "slice")
    if args.kind in BETWEEN_TWO and checkpoints != 2:
        raise ValueError(
            f"--kind {args.kind} goes from one checkpoint to another, but --path names "
            f"{checkpoints}; name two"
        )
    first, last = RANGES[args.kind]
    args.first = first if args.first is None else args.first
    args.last = last if args.last is None else args.last
    args.points = POINTS[args.kind] if args.points is None else args.points
    if args.points < 2 or not args.first < args.last:
        raise ValueError(
            f"--points {args.points} from {args.first:g} to {args.last:g} make no row; pass two "
            "or more, and --from less than --to"
        )
    for flag in ("beam", "remove_bpe", "tokenizer"):
        if getattr(args, flag) is not None and not args.bleu:
            name = f"--{flag.replace('_', '-')}"
            raise ValueError(f"{name} has no meaning without --bleu; add it or leave {name} out")
    if args.beam is not None and args.beam < 1:
        raise ValueError(f"--beam {args.beam} finds nothing; pass 1 or more")
