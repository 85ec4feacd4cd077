"""Time an update with M copies that share a part of the model's work, against M = 1, in turns.

    python scripts/bench/share_time.py data-bin [--replicas 4] [--tokens 1000] [--width 256]

All train a Transformer of six and six layers on the same batches of distinct sentences, in one
process. ``--bas-share input`` shares nothing, ``encoder`` runs the encoder once for all copies,
``output`` all but the output layer. Prints milliseconds per update (median, minimum, maximum over
rounds), the ratio of the medians to that of M = 1 and, on a GPU, the peak memory of each.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from update_time import Side, build  # beside this file

SHARES = ("input", "encoder", "output")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", help="folder written by fairseq-preprocess")
    parser.add_argument("--replicas", type=int, default=4, help="M")
    parser.add_argument("--share", nargs="+", choices=SHARES, default=SHARES)
    parser.add_argument("--width", type=int, default=256, help="of the model, a multiple of 4")
    parser.add_argument("--tokens", type=int, default=1000, help="--max-tokens")
    add_timing_flags(parser)
    args = parser.parse_args()
    sides = {"M = 1": transformer(args)}
    for share in args.share:
        flags = ("--bas-replicas", str(args.replicas), "--bas-share", share)
        sides[f"M = {args.replicas}, {share}"] = transformer(args, *flags)
    rows = alternate(sides, args.updates, args.rounds)
    print_rows(rows)
    conclude(args, update=rows)


def transformer(args: argparse.Namespace, *flags: str) -> Side:
    """Build ``transformer_iwslt_de_en`` with every width scaled by ``--width`` / 512."""
    sizes = [
        *(f"--{side}-embed-dim={args.width}" for side in ("encoder", "decoder")),
        *(f"--{side}-ffn-embed-dim={2 * args.width}" for side in ("encoder", "decoder")),
    ]
    fixed = {"arch": "transformer_iwslt_de_en", "criterion": "bas_cross_entropy"}
    given = argparse.Namespace(data=args.data, precision="fp32", **fixed)
    return build(given, "bas_translation", args.tokens, *sizes, *flags)


def add_timing_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how long to measure, and where to write."""
    parser.add_argument("--updates", type=int, default=2, help="updates of a round")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, after one warm-up")
    parser.add_argument("--json", type=Path, help="also write the numbers here")


def alternate(sides: Mapping[str, Side], updates: int, rounds: int) -> dict[str, dict[str, float]]:
    """Let the sides train in turns.

    Args:
        sides: name -> trainer; all must read the same batches.
        updates: updates of a turn.
        rounds: counted turns of each, after one that is not.

    Returns:
        Name -> milliseconds per update (``median``, ``min``, ``max`` over rounds), ``ratio`` of the
        median to that of the first side, and ``peak_mib`` of GPU memory, 0 on a CPU.
    """
    _refuse_other_batches(sides)
    for turn in range(rounds + 1):
        for side in sides.values():
            seconds = side.run(updates) / updates
            if turn > 0:
                side.seconds.append(seconds)
    rows = summarise({name: side.seconds for name, side in sides.items()})
    return {name: {**row, "peak_mib": sides[name].peak / 2**20} for name, row in rows.items()}


def summarise(seconds: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Return median, minimum, maximum in milliseconds, and the ratio of medians to the first."""
    rows = {}
    for name, times in seconds.items():
        ms = [1000 * second for second in times]
        rows[name] = {"median": statistics.median(ms), "min": min(ms), "max": max(ms)}
    base = next(iter(rows.values()))["median"]
    return {name: {**row, "ratio": row["median"] / base} for name, row in rows.items()}


def _refuse_other_batches(sides: Mapping[str, Side]) -> None:
    """Stop where the sides would not train on the same sentences, update by update."""
    first, *others = [
        [list(batch) for batch in side.epochs.frozen_batches] for side in sides.values()
    ]
    if any(batches != first for batches in others):
        sys.exit("the systems read different batches, so that their times cannot be compared")


def print_rows(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a line for each thing timed."""
    width = max(map(len, rows))
    for name, row in rows.items():
        memory = f", peak {row['peak_mib']:.0f} MiB on the GPU" if row.get("peak_mib") else ""
        print(f"{name:{width}} {row['median']:9.1f} ms", end="")
        print(f" ({row['min']:.1f} to {row['max']:.1f}), ratio {row['ratio']:.3f}{memory}")


def conclude(args: argparse.Namespace, **results: Mapping[str, Mapping[str, float]]) -> None:
    """Name the machine; write the flags, the machine and the results to ``--json``."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    machine = {"device": device, "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(f"{device}, {machine['threads']} threads, torch {torch.__version__}")
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items()}
        document = {**settings, **machine, "ms": results}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
