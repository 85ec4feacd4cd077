"""Time an update with M copies against plain fairseq with as many rows, in one process, in turns.

    python scripts/bench/update_time.py data-bin [--replicas 4] [--tokens 1000] [--precision fp32]

Both train the same architecture with the same criterion. Where plain fairseq reads M * B distinct
sentences of neighbouring lengths, the other side reads B of them and copies each M times, so that
both push equally many rows through the model and neither has the longer sentences. Prints the
ratio, round by round, of

- the time of an update, and the same a target token (padding is no token),
- the bytes of all tensors that the trainer is given, which is what it moves to a GPU,
- the time to read and collate an update's micro-batch, nothing else running,

and each side's target tokens a second, its share of the machine's own rate of matrix products
(those of an update are counted, padding included) and, on a GPU, its peak memory.
"""

import argparse
import json

import claims
from matrix_rate import share_of_matrix_rate
from timing import (
    add_model_flags,
    add_time_flags,
    checked,
    clock_of,
    described,
    middle,
    model_flags,
)
from trainer_side import ROOT, Side, build, paired_batches, target_tokens

__all__ = ["ROOT", "Side", "build"]  # what other benchmarks look for here

Rounds = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_model_flags(parser)
    parser.add_argument("--replicas", type=int, default=4, help="M")
    parser.add_argument("--tokens", type=int, default=1000, help="--max-tokens of the copied batch")
    parser.add_argument("--criterion", default="label_smoothed_cross_entropy", help="of both")
    parser.add_argument("--copies-criterion", help="of the copies, if it is to be another")
    add_time_flags(parser, updates=4, rounds=7)
    args = checked(parser)
    shape, copies = model_flags(args), ("--bas-replicas", str(args.replicas))
    plain = build(args, "translation", args.tokens * args.replicas, *shape)
    given = argparse.Namespace(
        **{**vars(args), "criterion": args.copies_criterion or args.criterion}
    )
    ours = build(given, "bas_translation", args.tokens, *copies, *shape)
    count = args.updates * (args.rounds + 1)
    batches = paired_batches(plain.epochs.frozen_batches, args.replicas, count)
    sides = {"plain": plain, "copies": ours}
    rounds = measure(sides, dict(zip(sides, batches, strict=True)), args)
    report(rounds, sides, args)


def measure(sides: dict[str, Side], batches: dict[str, list], args: argparse.Namespace) -> Rounds:
    """Train in turns; return what each round took.

    Returns:
        By side: ``seconds``; ``bytes``; ``loader``, seconds, the least of three; ``tokens``, target
        tokens with copies.
    """
    clock = clock_of(args)
    rounds: Rounds = {
        name: {"seconds": [], "bytes": [], "loader": [], "tokens": []} for name in sides
    }
    for name, side in sides.items():
        side.read(batches[name])
    for turn in range(args.rounds + 1):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            side, row = sides[name], rounds[name]
            part = batches[name][turn * args.updates : (turn + 1) * args.updates]
            before = side.bytes
            seconds = side.run(args.updates, clock)
            loader = min(side.load(part, clock) for _ in range(3))
            if turn > 0:
                copies = args.replicas if name == "copies" else 1
                row["seconds"].append(seconds)
                row["loader"].append(loader)
                row["bytes"].append(side.bytes - before)
                row["tokens"].append(copies * target_tokens(part, side))
    return rounds


def claimed(rounds: Rounds, args: argparse.Namespace) -> list[claims.Claim]:
    """Return the claims with their ratios, round by round."""

    def ratios(key: str) -> list[float]:
        pairs = zip(rounds["copies"][key], rounds["plain"][key], strict=True)
        return [ours / plain for ours, plain in pairs]

    by_token = [a / b for a, b in zip(ratios("seconds"), ratios("tokens"), strict=True)]
    criterion = args.copies_criterion or args.criterion
    what = f"M = {args.replicas} rows against plain fairseq of equal rows, {criterion}"
    size = described(args, args.tokens * args.replicas)
    return [
        claims.claim(f"{what} ({size}): time", 0.97, ratios("seconds")),
        claims.claim("- time a target token", None, by_token),
        claims.claim("- bytes moved to the device", 0.30, ratios("bytes")),
        claims.claim("- loader time", 0.30, ratios("loader")),
    ]


def report(rounds: Rounds, sides: dict[str, Side], args: argparse.Namespace) -> None:
    """Print the sides and the claims; write the JSON file."""
    rows = {name: summary(taken, sides[name], args) for name, taken in rounds.items()}
    for name, row in rows.items():
        print(
            f"{name:7}{row['ms']['median']:9.1f} ms an update ({row['ms']['min']:.1f} to "
            f"{row['ms']['max']:.1f}), {row['tokens_per_second']['median']:.0f} target tokens/s, "
            f"{row['share_of_matrix_rate']:.2f} of the matrix rate, loader "
            f"{row['loader_ms']['median']:.2f} ms, {row['kb_moved']['median']:.1f} kB moved"
            + (f", peak {row['peak_mib']:.0f} MiB on the GPU" if row["peak_mib"] else "")
        )
    entries = claimed(rounds, args)
    claims.show(entries)
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items()}
        document = {**settings, **claims.machine(), "sides": rows, "claims": entries}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def summary(taken: dict[str, list[float]], side: Side, args: argparse.Namespace) -> dict:
    """Return the numbers of a side, each an update."""
    tokens = [t / s for t, s in zip(taken["tokens"], taken["seconds"], strict=True)]
    return {
        "ms": middle([1000 * s / args.updates for s in taken["seconds"]]),
        "loader_ms": middle([1000 * s / args.updates for s in taken["loader"]]),
        "kb_moved": middle([b / args.updates / 1000 for b in taken["bytes"]]),
        "tokens_per_second": middle(tokens),
        "share_of_matrix_rate": share_of_matrix_rate(side, args.precision),
        "peak_mib": side.peak / 2**20,
    }


if __name__ == "__main__":
    main()
