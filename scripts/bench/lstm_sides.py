"""The language models that ``lstm.py`` times, each with a function from tokens to its loss.

Shapes: B streams, T tokens.
"""

import argparse
import contextlib
import io
import sys
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.data import Dictionary
from fairseq.models.lstm_lm import LSTMLanguageModel, base_architecture
from torch import nn
from torch.nn import functional as F

from fairseq_bas.criterion.bas_cross_entropy import BasCrossEntropy
from fairseq_bas.model.bas_awd_lstm_lm import AWDLSTMLanguageModel
from fairseq_bas.model.lstm_lm_config import LSTMLanguageModelConfig
from fairseq_bas.nn.carried_state import CarriedState

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


def task_of(args: argparse.Namespace) -> SimpleNamespace:
    """Return what models and losses ask of a task: a vocabulary with fairseq's four symbols."""
    words = Dictionary()
    for number in range(args.vocab - len(words)):
        words.add_symbol(f"w{number}")
    return SimpleNamespace(source_dictionary=words, target_dictionary=words, dictionary=words)


def bare(args: argparse.Namespace):
    """Build the practical limit."""
    model = Bare(args)
    return model, model


def ours(args: argparse.Namespace, **rates: float):
    """Build this package's model and loss."""
    cfg = LSTMLanguageModelConfig(
        bas_embed_dim=args.embed_dim,
        bas_hidden_dim=args.hidden_dim,
        bas_output_dim=args.output_dim,
        bas_layers=args.layers,
        bas_untied=args.output_dim != args.embed_dim,
        **rates,
    )
    task = task_of(args)
    model = AWDLSTMLanguageModel.build_model(cfg, task)
    criterion, state = BasCrossEntropy(task, False, 0.0, bas_ar=AR, bas_tar=TAR), CarriedState()
    return model, fairseq_loss(model, criterion, state=state)


def lstm_lm(args: argparse.Namespace):
    """Build fairseq's model and loss."""
    flags = argparse.Namespace(
        decoder_embed_dim=args.embed_dim,
        decoder_hidden_size=args.hidden_dim,
        decoder_out_embed_dim=args.output_dim,
        decoder_layers=args.layers,
        share_decoder_input_output_embed=args.output_dim == args.embed_dim,
        criterion="cross_entropy",
    )
    base_architecture(flags)
    task = task_of(args)
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
    carried: list = []

    def loss(tokens, target):
        if not carried:  # where the model is by now
            carried.append(model.init_hidden(args.batch))
        carried[0] = repackage_hidden(carried[0])
        output, carried[0], raw, dropped = model(tokens.t(), carried[0], return_h=True)
        decoder = model.decoder
        total = criterion(decoder.weight, decoder.bias, output, target.t().reshape(-1))
        total = total + AR * dropped[-1].pow(2).mean()
        return total + TAR * (raw[-1][1:] - raw[-1][:-1]).pow(2).mean()

    return model, loss
