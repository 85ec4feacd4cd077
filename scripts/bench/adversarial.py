"""Time updates with adversarial copies against unperturbed ones with the same rows, in turns.

    python scripts/bench/adversarial.py data-bin [--replicas 4] [--tokens 1000] [--width 256]
        [--updates 2] [--rounds 7] [--only free fgsm] [--threads 1] [--json FILE]

unperturbed  M copies in two passes, none adversarial: what the others are divided by
one_pass     the same copies in one pass
free         the last half of the copies moved along the gradient that the first pass leaves
fgsm         along a gradient of their own: plain adversarial training
stale        the same at the parameters of one update ago
pgd          three steps
fgsm_rows    fgsm with all copies in one pass, so that clean ones are attacked along

All train a Transformer of six and six layers on the same batches, in one process. Prints
milliseconds an update (median, minimum, maximum over rounds), and the median over rounds of the
time of each divided by that of ``unperturbed`` in the same round.
"""

import argparse
import functools
from pathlib import Path

import torch
import turns  # this and the next ones are beside this file
from share_time import transformer
from update_time import Side

BASE = "unperturbed"
ATTACK = "--bas-adversarial"


def sides(replicas: int) -> dict[str, tuple[str, ...]]:
    """Return the flags of each side; M is even."""
    copies = ("--bas-replicas", str(replicas))
    halves = (*copies, "--bas-replicas-per-pass", str(replicas // 2))
    return {
        BASE: halves,
        "one_pass": copies,
        "free": (*halves, ATTACK, "free"),
        "fgsm": (*halves, ATTACK, "fgsm"),
        "stale": (*halves, ATTACK, "stale"),
        "pgd": (*halves, ATTACK, "pgd"),
        "fgsm_rows": (*copies, ATTACK, "fgsm"),
    }


def arguments() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", help="folder written by fairseq-preprocess")
    parser.add_argument("--replicas", type=int, default=4, help="M, an even number")
    parser.add_argument("--tokens", type=int, default=1000, help="--max-tokens")
    parser.add_argument("--width", type=int, default=256, help="of the model, a multiple of 4")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--updates", type=int, default=2, help="updates of a round")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, after one warm-up")
    parser.add_argument("--only", nargs="+", help="leave all sides but unperturbed and these out")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    return parser.parse_args()


def seconds_of(side: Side, updates: int) -> float:
    """Return the seconds of an update, the mean of a few."""
    return side.run(updates) / updates


def main() -> None:
    """Measure and print."""
    args = arguments()
    torch.set_num_threads(args.threads)
    flags = sides(args.replicas)
    chosen = {BASE, *(args.only or flags)}
    runs = {
        name: functools.partial(seconds_of, transformer(args, *extra), args.updates)
        for name, extra in flags.items()
        if name in chosen
    }
    turns.report(turns.run_in_turns(runs, args.rounds), BASE, args)


if __name__ == "__main__":
    main()
