"""Flags that benchmarks of whole updates share, and what follows from them."""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from trainer_side import sizes


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add what is trained."""
    parser.add_argument("data", help="folder written by fairseq-preprocess")
    parser.add_argument("--arch", default="transformer_iwslt_de_en")
    parser.add_argument("--layers", type=int, help="of encoder and decoder; default: as --arch")
    parser.add_argument("--width", type=int, default=512, help="of the model, with --layers")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32")
    parser.add_argument("--num-workers", type=int, default=0, help="processes that load data")


def add_time_flags(parser: argparse.ArgumentParser, updates: int, rounds: int) -> None:
    """Add how it is measured."""
    parser.add_argument("--threads", type=int, help="of torch; default: as many as it takes")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine; 1 thread")
    parser.add_argument("--updates", type=int, default=updates, help="of a round [%(default)s]")
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="counted, after one warm-up [%(default)s]"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; set threads."""
    args = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    if args.precision != "fp32" and not on_gpu:
        parser.error(f"--precision {args.precision} needs a GPU; leave it out on a CPU")
    if args.cpu_time and (on_gpu or args.threads != 1):
        parser.error("--cpu-time is for one thread of a CPU; pass --threads 1 with it")
    torch.set_num_threads(args.threads or torch.get_num_threads())
    return args


def clock_of(args: argparse.Namespace) -> Callable[[], float]:
    """Return the clock to measure with."""
    return time.process_time if args.cpu_time else time.perf_counter


def model_flags(args: argparse.Namespace) -> list[str]:
    """Return fairseq's flags for what is trained."""
    shape = sizes(args.layers, args.width) if args.layers else []
    return [*shape, "--num-workers", str(args.num_workers)]


def described(args: argparse.Namespace, tokens: int) -> str:
    """Return the sizes in a few words."""
    model = f"{args.layers}+{args.layers} layers of {args.width}" if args.layers else args.arch
    return f"{model}, {tokens} tokens, {args.precision}"


def middle(values: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
