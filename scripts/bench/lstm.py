"""Time an update of LSTM language models of one shape, in one process, in turns.

    python scripts/bench/lstm.py [--rounds 7] [--steps 1] [--threads 2] [--json FILE]
        [--awd-source DIR]

An update is forward, backward, clipping and an SGD step, on windows of carried state:

bare      torch.nn.LSTM layers and cross-entropy without any dropout: the practical limit
awd       --arch bas_awd_lstm_lm with all dropouts, bas_cross_entropy with AR and TAR
zoneout   the same with zoneout in place of dropped weights
lstm_lm   fairseq's model. It has one width: without --output-dim equal to --hidden-dim its last
          layer is wider than the others' and is followed by a projection
original  the model of salesforce/awd-lstm-lm, if --awd-source is a checkout of it

Prints milliseconds an update (median, minimum, maximum over rounds), and the median over rounds of
the time of each divided by that of ``bare`` in the same round. The text is random: time does not
depend on it.
"""

import argparse
import contextlib
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.data import Dictionary
from fairseq.models.lstm_lm import LSTMLanguageModel, base_architecture
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fairseq_bas
from fairseq_bas.nn.carried_state import CarriedState

fairseq_bas.register()

CLIP, LEARNING_RATE, WEIGHT_DECAY = 0.25, 1.0, 1.2e-6
AR, TAR = 2.0, 1.0


class Bare(nn.Module):
    """Embedding, ``torch.nn.LSTM`` layers and a linear output layer."""

    def __init__(self, args: argparse.Namespace):
        super().__init__()
        sizes = widths(args)
        self.embedding = nn.Embedding(args.vocab, args.embed_dim)
        self.layers = nn.ModuleList(nn.LSTM(a, b) for a, b in pairwise(sizes))
        self.output = nn.Linear(sizes[-1], args.vocab)
        if sizes[-1] == args.embed_dim:
            self.output.weight = self.embedding.weight
        self.state: list = [None] * args.layers

    def forward(self, tokens, target):
        """Return the mean cross-entropy of (B, T) tokens."""
        x = self.embedding(tokens.t())
        for number, layer in enumerate(self.layers):
            x, (h, c) = layer(x, self.state[number])
            self.state[number] = h.detach(), c.detach()
        return F.cross_entropy(self.output(x).flatten(0, 1), target.t().flatten())


def widths(args: argparse.Namespace) -> list[int]:
    """Return the sizes of the embedding and of each layer."""
    return [args.embed_dim, *[args.hidden_dim] * (args.layers - 1), args.output_dim]


def dictionary(args: argparse.Namespace) -> Dictionary:
    """Return a vocabulary of the wanted size, with fairseq's four special symbols."""
    words = Dictionary()
    for number in range(args.vocab - len(words)):
        words.add_symbol(f"w{number}")
    return words


def bare(args: argparse.Namespace):
    """Build the practical limit."""
    model = Bare(args)
    return model, model


def ours(args: argparse.Namespace, **rates: float):
    """Build this package's model and loss."""
    from fairseq_bas.criterion.bas_cross_entropy import BasCrossEntropy
    from fairseq_bas.model.bas_awd_lstm_lm import AWDLSTMLanguageModel
    from fairseq_bas.model.lstm_lm_config import LSTMLanguageModelConfig

    cfg = LSTMLanguageModelConfig(
        bas_embed_dim=args.embed_dim,
        bas_hidden_dim=args.hidden_dim,
        bas_output_dim=args.output_dim,
        bas_layers=args.layers,
        bas_untied=args.output_dim != args.embed_dim,
        **rates,
    )
    task = SimpleNamespace(target_dictionary=dictionary(args))
    model = AWDLSTMLanguageModel.build_model(cfg, task)
    criterion, state = BasCrossEntropy(task, False, 0.0, bas_ar=AR, bas_tar=TAR), CarriedState()
    return model, fairseq_loss(model, criterion, state=state)


def lstm_lm(args: argparse.Namespace):
    """Build fairseq's model and loss."""
    words = dictionary(args)
    task = SimpleNamespace(
        target_dictionary=words, source_dictionary=words, dictionary=words, criterion=None
    )
    flags = argparse.Namespace(
        decoder_embed_dim=args.embed_dim,
        decoder_hidden_size=args.hidden_dim,
        decoder_out_embed_dim=args.output_dim,
        decoder_layers=args.layers,
        share_decoder_input_output_embed=args.output_dim == args.embed_dim,
        criterion="cross_entropy",
    )
    base_architecture(flags)
    model = LSTMLanguageModel.build_model(flags, task)
    return model, fairseq_loss(model, CrossEntropyCriterion(task, False))


def fairseq_loss(model, criterion, **extra) -> Callable:
    """Return a function of tokens and target that gives fairseq's loss a token."""

    def loss(tokens, target):
        net_input = {"src_tokens": tokens, "src_lengths": None, **extra}
        sample = {"net_input": net_input, "target": target, "ntokens": target.numel()}
        total, size, _ = criterion(model, sample)
        return total / size

    return loss


def original(args: argparse.Namespace):
    """Build the authors' model and loss, with the rates of their Penn Treebank command."""
    sys.path.insert(0, str(args.awd_source))
    try:
        from model import RNNModel
        from splitcross import SplitCrossEntropyLoss
        from utils import repackage_hidden
    finally:
        sys.path.pop(0)
    tied = args.output_dim == args.embed_dim
    with contextlib.redirect_stdout(io.StringIO()):
        model = RNNModel(
            *("LSTM", args.vocab, args.embed_dim, args.hidden_dim, args.layers),
            *(0.4, 0.25, 0.4, 0.1, 0.5, tied),
        )
        criterion = SplitCrossEntropyLoss(args.output_dim, splits=[])
    carried = [model.init_hidden(args.batch)]

    def loss(tokens, target):
        carried[0] = repackage_hidden(carried[0])
        output, carried[0], raw, dropped = model(tokens.t(), carried[0], return_h=True)
        decoder = model.decoder
        total = criterion(decoder.weight, decoder.bias, output, target.t().reshape(-1))
        total = total + AR * dropped[-1].pow(2).mean()
        return total + TAR * (raw[-1][1:] - raw[-1][:-1]).pow(2).mean()

    return model, loss


class Side:
    """One of the things compared: a model in training, and the seconds of its updates."""

    def __init__(self, model: nn.Module, loss: Callable):
        self.loss, self.seconds = loss, []
        self.parameters = list(model.train().parameters())
        self.optimizer = torch.optim.SGD(
            self.parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )

    def run(self, args: argparse.Namespace) -> float:
        """Return the seconds of an update, the mean of a few."""
        words = torch.randint(4, args.vocab, (args.steps, args.batch, args.bptt + 1))
        start = time.perf_counter()
        for window in words:
            self.optimizer.zero_grad()
            self.loss(window[:, :-1], window[:, 1:].contiguous()).backward()
            nn.utils.clip_grad_norm_(self.parameters, CLIP)
            self.optimizer.step()
        return (time.perf_counter() - start) / args.steps


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
    parser.add_argument("--steps", type=int, default=1, help="updates of a round")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, after one warm-up")
    parser.add_argument("--only", nargs="+", help="leave all sides but bare and these out")
    parser.add_argument("--awd-source", type=Path, help="checkout of salesforce/awd-lstm-lm")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = arguments()
    torch.set_num_threads(args.threads)
    makers = {
        "bare": bare,
        "awd": ours,
        "zoneout": lambda args: ours(
            args, bas_weight_drop=0.0, bas_zoneout_cell=0.5, bas_zoneout_hidden=0.05
        ),
        "lstm_lm": lstm_lm,
    }
    if args.awd_source is not None:
        makers["original"] = original
    chosen = {"bare", *(args.only or makers)}
    sides = {name: Side(*make(args)) for name, make in makers.items() if name in chosen}
    for turn in range(args.rounds + 1):
        for side in sides.values():
            seconds = side.run(args)
            if turn > 0:
                side.seconds.append(seconds)
    report(args, {name: side.seconds for name, side in sides.items()})


def report(args: argparse.Namespace, seconds: dict[str, list[float]]) -> None:
    """Print the table and write the JSON file."""
    rows = {}
    for name, times in seconds.items():
        ratios = [t / b for t, b in zip(times, seconds["bare"], strict=True)]
        ms = [1000 * t for t in times]
        rows[name] = {
            "ms": {"median": statistics.median(ms), "min": min(ms), "max": max(ms)},
            "of_bare": {
                "median": statistics.median(ratios),
                "min": min(ratios),
                "max": max(ratios),
            },
        }
        print(
            f"{name:9}{statistics.median(ms):8.0f} ms ({min(ms):.0f} to {max(ms):.0f})"
            f"{statistics.median(ratios):8.2f} of bare ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items()}
        args.json.write_text(json.dumps({**settings, "torch": torch.__version__, "sides": rows}))


if __name__ == "__main__":
    main()
