"""Measure the perplexity of LSTM language models, with a neural cache and dynamic evaluation.

Static evaluation reads a text as one stream with the recurrent state carried along, and gives what
``fairseq-eval-lm`` gives. The other methods also learn from the text that was read so far, so
their perplexity is not to be compared with a static one; the table always has the static one too.
"""

import argparse
import os
from dataclasses import replace

from .checkpoint_arguments import split_paths
from .perplexity_settings import CacheSettings, DynamicSettings, dynamic_settings
from .report_files import check_reports, write_report

TUNE_SPLIT = "valid"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas perplexity``.
    """
    add = parser.add_argument
    add("data", metavar="DATA", help="data directory of fairseq-preprocess --only-source")
    add(
        "--path",
        required=True,
        metavar="CKPT",
        help=f"checkpoint; several, joined by {os.pathsep!r}, are measured one by one",
    )
    add("--split", default="test", metavar="NAME", help="text to read (default: %(default)s)")
    add("--skip-unknown", action="store_true", help="read <unk> but do not count it")
    add("--json", metavar="FILE", help="write everything as JSON")
    add("--token-nll", metavar="FILE", help="write the loss of every token, tab-separated")
    add("--cpu", action="store_true", help="do not use a GPU")
    _add_cache(parser.add_argument_group("neural cache (each option switches it on)"))
    _add_dynamic(parser.add_argument_group("dynamic evaluation (each option switches it on)"))
    group = parser.add_argument_group("choice of settings")
    group.add_argument(
        "--tune",
        action="store_true",
        help="choose theta and lambda of the cache, and lr, then decay of dynamic evaluation, on "
        "the validation split, from multiples of the values that are given or published",
    )
    group.add_argument("--tune-split", metavar="NAME", help=f"that split (default: {TUNE_SPLIT})")
    group.add_argument(
        "--tune-tokens", type=int, metavar="N", help="only its first N tokens (default: all)"
    )


def _add_cache(group: argparse._ArgumentGroup) -> None:
    add, defaults = group.add_argument, CacheSettings()
    add("--cache", action="store_true", help="mix with a cache of the last words")
    add(
        "--cache-window",
        type=int,
        metavar="W",
        help=f"words remembered (default: {defaults.window}, AWD-LSTM's for the Penn Treebank)",
    )
    add(
        "--cache-theta",
        type=float,
        metavar="X",
        help=f"sharpness of the cache (default: {defaults.theta:.4g})",
    )
    add(
        "--cache-lambda",
        type=float,
        metavar="X",
        help=f"its share in the mixture (default: {defaults.weight:.4g})",
    )


def _add_dynamic(group: argparse._ArgumentGroup) -> None:
    add, defaults = group.add_argument, DynamicSettings()
    segment = defaults.segment
    add("--dynamic", action="store_true", help="go on learning from the text that was read")
    add(
        "--dynamic-lr",
        type=float,
        metavar="X",
        help=f"learning rate (default: {defaults.lr:g} for each {segment} tokens of a segment)",
    )
    add(
        "--dynamic-decay",
        type=float,
        metavar="X",
        help="pull back to the trained parameters (default: "
        f"{defaults.decay:g} for each {segment} tokens of a segment; 0 for sgd)",
    )
    add(
        "--dynamic-segment",
        type=int,
        metavar="T",
        help=f"tokens between two updates (default: {segment})",
    )
    add(
        "--dynamic-rule",
        choices=["rms", "sgd"],
        help="rms: steps and decay scaled by gradient statistics of the split train; sgd: plain "
        "steps (default: rms)",
    )
    add(
        "--dynamic-epsilon",
        type=float,
        metavar="X",
        help=f"added to the root of the mean squared gradients (default: {defaults.epsilon:g})",
    )
    add(
        "--dynamic-streams",
        type=int,
        metavar="N",
        help="streams of a mini-batch of the gradient statistics, each of one segment "
        f"(default: {defaults.streams}, or as many as the text fills)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the files.

    Args:
        args: what `add_arguments` asked for.

    Returns:
        0.

    Raises:
        ValueError: if the input is refused.
        OSError: if a report cannot be written.
    """
    paths = split_paths(args.path)
    check_reports([args.json, args.token_nll], inputs=paths)
    cache, dynamic = cache_of(args), dynamic_of(args)
    _check_tuning(args, cache is not None or dynamic is not None)
    # fairseq takes seconds to import, which wrong usage should not cost.
    from .perplexity_report import json_report, text_report, token_lines
    from .perplexity_run import measure

    measured = measure(args, paths, cache, dynamic)
    print(text_report(measured.results, measured.text), end="")
    if args.json:
        options = {**vars(args), "device": measured.device}
        write_report(args.json, [json_report(measured.results, measured.text, options)])
    if args.token_nll:
        counted = measured.counted.tolist()
        write_report(args.token_nll, token_lines(measured.results, measured.words, counted))
    return 0


def _check_tuning(args: argparse.Namespace, has_settings: bool) -> None:
    """Fill in the split to choose on; raise ValueError if the options do not go together."""
    if not args.tune:
        for name in ("tune_split", "tune_tokens"):
            if getattr(args, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(
                    f"{flag} has no meaning without --tune; add it or leave {flag} out"
                )
        return
    if not has_settings:
        raise ValueError("--tune has nothing to choose; add --cache, --dynamic or both")
    if args.tune_tokens is not None and args.tune_tokens < 1:
        raise ValueError(f"--tune-tokens {args.tune_tokens} reads nothing; pass 1 or more")
    args.tune_split = args.tune_split or TUNE_SPLIT


def cache_of(args: argparse.Namespace) -> CacheSettings | None:
    """Return the settings of the cache, None if it was not asked for.

    Args:
        args: what `add_arguments` asked for.
    """
    given = {
        name: value
        for name, value in (
            ("window", args.cache_window),
            ("theta", args.cache_theta),
            ("weight", args.cache_lambda),
        )
        if value is not None
    }
    return replace(CacheSettings(), **given) if args.cache or given else None


def dynamic_of(args: argparse.Namespace) -> DynamicSettings | None:
    """Return the settings of dynamic evaluation, None if it was not asked for.

    Args:
        args: what `add_arguments` asked for.

    Raises:
        ValueError: if a value is missing or has no meaning.
    """
    given = {
        name: getattr(args, f"dynamic_{name}")
        for name in ("rule", "segment", "lr", "decay", "epsilon", "streams")
    }
    if args.dynamic or any(value is not None for value in given.values()):
        return dynamic_settings(**given)
    return None
