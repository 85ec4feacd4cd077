"""Compare R-Drop here (M = 2) with fairseq's own criterion for it, in one process, in turns.

    python scripts/bench/rdrop.py [--tokens 2048] [--vocab 32768] [--threads 1] [--short]
        [--max-tokens 1000] [--json FILE] [--device cuda] [--precision bf16]

First the loss part: output layer, criterion and backward pass down to the features, for the same
features and targets (``fairseq``: ``label_smoothed_cross_entropy_with_rdrop``). Both losses have to
agree, and their peaks of memory above the inputs are measured too. Then whole updates of
``transformer_iwslt_de_en`` on the same batches of generated sentences, with tied embeddings and
Adam. Prints milliseconds (median, minimum, maximum over rounds) and the time of ours divided by
fairseq's in the same round: of the loss part CPU time with one thread, else time on the wall.

Shapes: B sentences, T target length, H hidden, V vocabulary; N = B T target tokens of one copy.
"""

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import (
    RdropLabelSmoothedCrossEntropyCriterion as Criterion,
)
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder
from peak_memory import peak_bytes
from torch import Tensor, nn
from torch.nn import functional as F
from turns import compare, run_in_turns, write
from update_time import ROOT, Side, build

sys.path.insert(0, str(ROOT))

from fairseq_bas.nn.consistent_loss import consistent_smoothed_loss

ALPHA, SMOOTHING, LENGTH, PAD = 5.0, 0.1, 32, 1
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class OutputLayer(nn.Module):
    """What fairseq's criterion takes for a model: features (2 B, T, H) to logits."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = weight

    def forward(self, src_tokens):
        """Return logits as a decoder does."""
        return F.linear(src_tokens, self.weight), None

    def get_normalized_probs(self, net_output, log_probs):
        """Normalise as ``FairseqDecoder`` does."""
        normalise = F.log_softmax if log_probs else F.softmax
        return normalise(net_output[0], dim=-1, dtype=torch.float32)

    def get_targets(self, sample, _):
        """Return the targets of one copy."""
        return sample["target"]


def fairseq_loss(features: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Return fairseq's loss of features (2, B, T, H), copies one after the other, summed."""
    task = SimpleNamespace(target_dictionary=SimpleNamespace(pad=lambda: PAD))
    criterion = Criterion(task, False, SMOOTHING, rdrop_alpha=ALPHA)
    net_input = {"src_tokens": features.flatten(0, 1)}
    sample = {"net_input": net_input, "target": target, "ntokens": int(target.ne(PAD).sum())}
    return criterion(OutputLayer(weight), sample)[0]


def our_loss(features: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Return ours of features (B, 2, T, H), the copies of a sentence beside each other."""
    copies = features.transpose(1, 2).flatten(0, 1)
    settings = (SMOOTHING, "rdrop", ALPHA / 2, PAD)
    return consistent_smoothed_loss(copies, weight, None, target.flatten(), *settings)[0]


WAYS = {"fairseq": (fairseq_loss, False), "ours": (our_loss, True)}


def pass_of(name: str, tokens: int, vocab: int, args: argparse.Namespace) -> Callable:
    """Draw inputs; return a function that makes a timed pass and returns seconds and loss."""
    loss_of, by_sentence = WAYS[name]
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(vocab, args.hidden, generator=generator).mul_(0.05)
    sentences = max(1, tokens // LENGTH)
    features = torch.randn(2, sentences, LENGTH, args.hidden, generator=generator)
    target = torch.randint(PAD + 1, vocab, (sentences, LENGTH), generator=generator)
    target[::4, LENGTH // 2 :] = PAD
    if by_sentence:
        features = features.transpose(0, 1).contiguous()
    dtype = PRECISIONS[args.precision]
    leaves = [x.to(args.device, dtype).requires_grad_() for x in (features, weight)]
    target = target.to(args.device)
    on_cpu = args.device == "cpu"
    clock = time.process_time if on_cpu and args.threads == 1 else time.perf_counter
    wait = (lambda: None) if on_cpu else torch.cuda.synchronize

    def run() -> tuple[float, float]:
        for leaf in leaves:
            leaf.grad = None
        wait()
        start = clock()
        loss = loss_of(*leaves, target)
        loss.backward()
        wait()
        return clock() - start, loss.item()

    return run


def memory_of_loss(args: argparse.Namespace) -> dict[str, dict]:
    """Measure and print the peak memory of the loss part, in MiB."""

    def make(name):
        pass_of(name, 64, 64, args)()
        return pass_of(name, args.tokens, args.vocab, args)

    peaks = {name: peak_bytes(functools.partial(make, name), args.device) for name in WAYS}
    rows = {}
    for name, peak in peaks.items():
        ratio = peak / peaks["fairseq"]
        rows[name] = {"peak_mib": peak / 2**20, "of_fairseq": ratio}
        print(f"{name:9}{peak / 2**20:8.0f} MiB at its peak, {ratio:.3f} of fairseq", flush=True)
    return rows


def time_loss(args: argparse.Namespace) -> dict[str, dict]:
    """Time the loss part; stop where the two losses differ."""
    passes = {name: pass_of(name, args.tokens, args.vocab, args) for name in WAYS}
    found: dict[str, float] = {}

    def run(name):
        seconds, found[name] = passes[name]()
        return seconds

    seconds = run_in_turns({name: functools.partial(run, name) for name in passes}, args.rounds)
    limit = 1e-5 if args.precision == "fp32" else 1e-2
    if abs(found["ours"] - found["fairseq"]) > limit * abs(found["fairseq"]):
        sys.exit(f"the losses differ, so that times cannot be compared: {found}")
    return compare(seconds, "fairseq")


def write_data(folder: Path, vocab: int, sentences: int) -> None:
    """Write random sentences of 8 to 40 words as ``fairseq-preprocess`` would."""
    generator = torch.Generator().manual_seed(1)
    words = Dictionary()
    for number in range(vocab - len(words)):
        words.add_symbol(f"w{number}")
    for language in ("de", "en"):
        words.save(str(folder / f"dict.{language}.txt"))
        stem = f"{folder}/train.de-en.{language}"
        builder = MMapIndexedDatasetBuilder(f"{stem}.bin", dtype=np.int32)
        for _ in range(sentences):
            length = int(torch.randint(8, 40, (), generator=generator))
            ids = torch.randint(words.nspecial, vocab, (length,), generator=generator)
            builder.add_item(torch.cat([ids, torch.tensor([words.eos()])]))
        builder.finalize(f"{stem}.idx")


def time_updates(folder: Path, args: argparse.Namespace) -> dict[str, dict]:
    """Time whole updates of the same batches."""

    def side(criterion: str, task: str, *flags: str) -> Side:
        given = argparse.Namespace(
            data=str(folder), arch=args.arch, criterion=criterion, precision=args.precision
        )
        return build(given, task, args.max_tokens, *flags)

    theirs = ("--rdrop-alpha", str(ALPHA))
    ours = ("--bas-replicas", "2", "--bas-consistency", "rdrop")
    ours += ("--bas-consistency-weight", str(ALPHA / 2))
    sides = {
        "fairseq": side("label_smoothed_cross_entropy_with_rdrop", "translation", *theirs),
        "ours": side("bas_cross_entropy", "bas_translation", *ours),
    }
    runs = {name: functools.partial(side.run, 1) for name, side in sides.items()}
    return compare(run_in_turns(runs, args.rounds), "fairseq")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=2048, help="N of the loss part, padding too")
    parser.add_argument("--hidden", type=int, default=512, help="H of the loss part")
    parser.add_argument("--vocab", type=int, default=32768, help="V, of both parts")
    parser.add_argument("--max-tokens", type=int, default=1000, help="of an update, one copy")
    parser.add_argument("--arch", default="transformer_iwslt_de_en")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one warm-up")
    parser.add_argument("--short", action="store_true", help="few tokens, no updates: seconds")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    if args.short:
        args.tokens, args.rounds = 512, 2
    torch.set_num_threads(args.threads)
    print(f"loss part, M = 2, N {args.tokens}, H {args.hidden}, V {args.vocab}:")
    results = {"memory": memory_of_loss(args), "loss": time_loss(args)}
    if not args.short:
        print(f"update of {args.arch}, --max-tokens {args.max_tokens}, {args.threads} threads:")
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder), args.vocab, sentences=400)
            results["update"] = time_updates(Path(folder), args)
    write(args, **results)


if __name__ == "__main__":
    main()
