"""Time the plugin with M = 1 and no noise against plain fairseq, in one process, in turns.

    python scripts/bench/plain_time.py data-bin [--tokens 4000] [--layers 1 --width 128]

All sides make updates of the same micro-batches in the same order. ``plugin`` is the task
``bas_translation`` with fairseq's criterion; ``defaults`` has this plugin's criterion too. The
smaller the model, the larger the share of what does not depend on its size.
"""

import argparse
import json

import claims
from timing import (
    add_model_flags,
    add_time_flags,
    checked,
    clock_of,
    described,
    middle,
    model_flags,
)
from trainer_side import build

FAIRSEQS, OURS = "label_smoothed_cross_entropy", "bas_cross_entropy"
SIDES = {
    "plain": ("translation", FAIRSEQS),
    "plugin": ("bas_translation", FAIRSEQS),
    "defaults": ("bas_translation", OURS),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_model_flags(parser)
    parser.add_argument("--tokens", type=int, default=4000, help="--max-tokens")
    add_time_flags(parser, updates=2, rounds=9)
    args = checked(parser)
    sides = {}
    for name, (task, criterion) in SIDES.items():
        given = argparse.Namespace(**{**vars(args), "criterion": criterion})
        sides[name] = build(given, task, args.tokens, *model_flags(args))
    count = args.updates * (args.rounds + 1)
    every = sides["plain"].epochs.frozen_batches
    places = [round(i * (len(every) - 1) / max(1, count - 1)) for i in range(count)]
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side.read([every[place] for place in places])
    names = list(sides)
    for turn in range(args.rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            taken = sides[name].run(args.updates, clock_of(args)) / args.updates
            if turn > 0:
                seconds[name].append(taken)
    report(seconds, args)


def report(seconds: dict[str, list[float]], args: argparse.Namespace) -> None:
    """Print the sides and the claims; write the JSON file."""
    rows = {name: middle([1000 * s for s in times]) for name, times in seconds.items()}
    for name, row in rows.items():
        print(f"{name:9}{row['median']:9.1f} ms an update ({row['min']:.1f} to {row['max']:.1f})")
    entries = []
    for name in list(seconds)[1:]:
        ratios = [a / b for a, b in zip(seconds[name], seconds["plain"], strict=True)]
        what = f"M = 1 without noise against plain fairseq, {SIDES[name][1]}"
        text = f"{what} ({described(args, args.tokens)}): time"
        entries.append(claims.claim(text, 1.02, ratios))
    claims.show(entries)
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items()}
        document = {**settings, **claims.machine(), "ms": rows, "claims": entries}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
