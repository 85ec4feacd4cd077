"""Measure the peak of memory in an update with M copies in passes, against M = 1 and fairseq.

    python scripts/bench/memory.py data-bin [--replicas 8] [--tokens 4000] [--json FILE]

On a CPU the peak is that of all bytes that torch's allocator has handed out, by its own account
(torch.profiler), from the start of an update to its end, on top of weights, optimizer state and
whatever else tensors held before it. On a GPU it is ``torch.cuda.max_memory_allocated``. All read
the same micro-batches, those with the most target tokens, as it is they that must fit; as many
updates come before the measured ones.

The gradient that passes add to is held while the next pass runs forward, in which M = 1 holds none,
so the ratio is 1 + G / (3 G + A) for a gradient of G bytes, Adam, and activations of A: the larger
the micro-batch, the nearer to 1. fairseq's own ``--update-freq M`` is the second measure.
"""

import argparse
import functools
import json

import claims
import torch
from timing import add_model_flags, add_time_flags, checked, described, model_flags
from torch.profiler import ProfilerActivity, profile
from trainer_side import Side, build, target_tokens

MIB = 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_model_flags(parser)
    parser.add_argument("--replicas", type=int, default=8, help="M")
    parser.add_argument("--tokens", type=int, default=4000, help="--max-tokens")
    parser.add_argument("--criterion", default="label_smoothed_cross_entropy")
    add_time_flags(parser, updates=3, rounds=1)
    args = checked(parser)
    peaks = {}
    copies = ("--bas-replicas", str(args.replicas), "--bas-replicas-per-pass", "1")
    ways = {
        "M = 1": ("bas_translation", 1, ()),
        "passes": ("bas_translation", 1, copies),
        "update-freq": ("translation", args.replicas, ()),
    }
    for name, (task, group, flags) in ways.items():
        side = build(args, task, args.tokens, *flags, *model_flags(args))
        batches = [[*map(int, batch)] for batch in side.epochs.frozen_batches]
        batches.sort(key=functools.partial(rank, side))
        largest = batches[-args.updates :]
        side.read([batch for batch in [*largest, *largest] for _ in range(group)], group)
        side.run(args.updates)
        peaks[name] = [peak_of_update(side) for _ in range(args.updates)]
        print(f"{name:12} peaks of {', '.join(f'{p / MIB:.1f}' for p in peaks[name])} MiB")
        del side
    what = f"M = {args.replicas} passes, {args.criterion} ({described(args, args.tokens)})"
    fairseqs = f"- against plain fairseq with --update-freq {args.replicas}"
    entries = [
        claims.claim(
            f"{what}, peak memory against M = 1", 1.05, ratios(peaks["passes"], peaks["M = 1"])
        ),
        claims.claim(fairseqs, 1.01, ratios(peaks["passes"], peaks["update-freq"])),
    ]
    claims.show(entries)
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items()}
        document = {**settings, **claims.machine(), "bytes": peaks, "claims": entries}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def rank(side: Side, batch: list[int]) -> tuple[int, list[int]]:
    """Return target tokens, and the sentences, which decide between equals."""
    return target_tokens([batch], side), batch


def ratios(ours: list[float], others: list[float]) -> list[float]:
    """Return the ratios of micro-batch after micro-batch."""
    return [a / b for a, b in zip(ours, others, strict=True)]


def peak_of_update(side: Side) -> float:
    """Make an update; return the bytes of all tensors at the moment they were most."""
    if torch.cuda.is_available():
        side.peak = 0
        side.run(1)
        return side.peak
    held = kept_bytes(side)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        side.run(1)
    events = [event for event in profiler.profiler.kineto_results.events() if event.nbytes() != 0]
    events.sort(key=lambda event: event.start_ns())
    now = most = 0
    for event in events:
        now += event.nbytes()
        most = max(most, now)
    return held + most


def kept_bytes(side: Side) -> int:
    """Return the bytes of weights, gradients and optimizer state between updates."""
    parameters = list(side.trainer.get_model().parameters())
    tensors = [*parameters, *(p.grad for p in parameters if p.grad is not None)]
    for state in side.trainer.optimizer.optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


if __name__ == "__main__":
    main()
