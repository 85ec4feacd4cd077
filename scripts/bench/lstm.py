"""Time an update of LSTM language models of one shape, in one process, in turns.

    python scripts/bench/lstm.py [--rounds 7] [--steps 1] [--threads 2] [--json FILE]
        [--awd-source DIR] [--cpu-time] [--device cuda] [--precision fp16] [--compiled]
        [--profile] [--short]

An update is forward, backward, clipping and an SGD step, on windows of carried state:

bare      torch.nn.LSTM layers and cross-entropy without any dropout: the practical limit
awd       --arch bas_awd_lstm_lm with all dropouts, bas_cross_entropy with AR and TAR
zoneout   the same with zoneout in place of dropped weights
lstm_lm   fairseq's model. It has one width: without --output-dim equal to --hidden-dim its last
          layer is wider than the others' and is followed by a projection
original  the model of salesforce/awd-lstm-lm, if --awd-source is a checkout of it. On torch 2 it
          still trains, until it has been in eval mode once

Prints milliseconds an update (median, minimum, maximum over rounds), and the median over rounds of
the time of each divided by that of ``bare`` in the same round. The text is random: time does not
depend on it. ``--profile`` adds, for each model, which parts of an update take the time (on a CPU).
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import lstm_profile
import lstm_sides
import turns

from fairseq_bas.nn.lstm_layer import LSTMLayer

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CLIP, LEARNING_RATE, WEIGHT_DECAY = 0.25, 1.0, 1.2e-6


class Side:
    """One of the things compared: a model in training."""

    def __init__(self, model: nn.Module, loss: Callable, args: argparse.Namespace):
        self.loss = loss
        # Weights in half precision, as fairseq's --fp16 and --bf16 have them.
        model = model.to(args.device, PRECISIONS[args.precision])
        for layer in model.modules():
            if isinstance(layer, LSTMLayer):
                layer.compiled = args.compiled
        self.parameters = list(model.train().parameters())
        self.optimizer = torch.optim.SGD(
            self.parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )

    def run(self, args: argparse.Namespace) -> float:
        """Return the seconds of an update, the mean of a few."""
        size = (args.steps, args.batch, args.bptt + 1)
        words = torch.randint(4, args.vocab, size, device=args.device)
        clock = time.process_time if args.cpu_time else time.perf_counter
        wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
        wait()
        start = clock()
        for window in words:
            self.optimizer.zero_grad()
            self.loss(window[:, :-1], window[:, 1:].contiguous()).backward()
            nn.utils.clip_grad_norm_(self.parameters, CLIP)
            self.optimizer.step()
        wait()
        return (clock() - start) / args.steps


def arguments() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--embed-dim", type=int, default=400)
    parser.add_argument("--hidden-dim", type=int, default=1150)
    parser.add_argument("--output-dim", type=int, default=400, help="equal to --embed-dim: tied")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--vocab", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--bptt", type=int, default=70)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=list(PRECISIONS))
    parser.add_argument("--compiled", action="store_true", help="compile the steps of zoneout")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine; 1 thread")
    parser.add_argument("--steps", type=int, default=1, help="updates of a round")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, after one warm-up")
    parser.add_argument("--only", nargs="+", help="leave all sides but bare and these out")
    parser.add_argument("--awd-source", type=Path, help="checkout of salesforce/awd-lstm-lm")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--profile", action="store_true", help="add shares of time by part")
    parser.add_argument("--short", action="store_true", help="small models, two rounds: seconds")
    args = parser.parse_args()
    if args.short:
        args.hidden_dim, args.vocab, args.rounds = 400, 2000, 2
    if args.cpu_time and args.threads > 1:
        parser.error("--cpu-time adds up what threads spend waiting; pass --threads 1 with it")
    return args


def main() -> None:
    """Measure and print."""
    args = arguments()
    torch.set_num_threads(args.threads)
    makers = {
        "bare": lstm_sides.bare,
        "awd": lstm_sides.ours,
        "zoneout": lambda args: lstm_sides.ours(
            args, bas_weight_drop=0.0, bas_zoneout_cell=0.5, bas_zoneout_hidden=0.05
        ),
        "lstm_lm": lstm_sides.lstm_lm,
    }
    if args.awd_source is not None:
        makers["original"] = lstm_sides.original
    chosen = {"bare", *(args.only or makers)}
    sides = {name: Side(*make(args), args) for name, make in makers.items() if name in chosen}
    seconds = turns.run_in_turns(
        {name: functools.partial(side.run, args) for name, side in sides.items()}, args.rounds
    )
    results = {"sides": turns.compare(seconds, "bare")}
    if args.profile:
        results["shares"] = {
            name: lstm_profile.shares(functools.partial(side.run, args))
            for name, side in sides.items()
        }
        for name, found in results["shares"].items():
            lstm_profile.print_shares(name, found)
    turns.write(args, **results)


if __name__ == "__main__":
    main()
