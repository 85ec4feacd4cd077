"""Compare the chunked label-smoothed loss with the plain way, forward and backward, in turns.

    python scripts/bench/chunked_loss.py [--tokens 8192] [--vocab 32768] [--threads 1] [--short]
        [--json FILE] [--device cuda] [--precision bf16]

``plain`` is torch's linear layer, log-softmax and fairseq's own loss function, ``chunked`` ours.
Prints milliseconds (median, minimum, maximum over rounds), and the time of ``chunked`` divided by
that of ``plain`` in the same round: CPU time with one thread, else time on the wall. Then the peak
memory of each, above features, weight and target: the gradients of features and weight, which both
have to return, are counted in the first number, and left out of the second.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from peak_memory import peak_bytes
from torch.nn import functional as F
from turns import compare, run_in_turns, write

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_bas.nn.chunked_loss import chunked_smoothed_loss

PAD = 1
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def plain(features, weight, target):
    """Return fairseq's loss from full logits."""
    lprobs = F.linear(features, weight).log_softmax(-1)
    return label_smoothed_nll_loss(lprobs, target, 0.1, ignore_index=PAD)[0]


def plain_half(features, weight, target):
    """Return fairseq's loss from full logits in half precision, which it makes float32."""
    lprobs = F.log_softmax(F.linear(features, weight), -1, dtype=torch.float32)
    return label_smoothed_nll_loss(lprobs, target, 0.1, ignore_index=PAD)[0]


def chunked(features, weight, target):
    """Return ours."""
    return chunked_smoothed_loss(features, weight, None, target, 0.1, padding_idx=PAD)[0]


def pass_of(loss: Callable, vocab: int, tokens: int, args: argparse.Namespace) -> Callable:
    """Draw inputs; return a function that makes a forward and a backward pass and times it."""
    dtype = PRECISIONS[args.precision]
    weight = torch.randn(vocab, args.hidden).mul_(0.05).to(args.device, dtype).requires_grad_()
    features = torch.randn(tokens, args.hidden).to(args.device, dtype).requires_grad_()
    target = torch.randint(PAD + 1, vocab, (tokens,)).to(args.device)
    on_cpu = args.device == "cpu"
    clock = time.process_time if on_cpu and args.threads == 1 else time.perf_counter
    wait = (lambda: None) if on_cpu else torch.cuda.synchronize

    def run() -> float:
        features.grad = weight.grad = None
        wait()
        start = clock()
        loss(features, weight, target).backward()
        wait()
        return clock() - start

    return run


def peaks(ways: dict[str, Callable], vocab: int, args: argparse.Namespace) -> dict[str, dict]:
    """Measure and print the peak memory of each way, in MiB."""

    def make(loss):
        pass_of(loss, 64, 64, args)()
        return pass_of(loss, vocab, args.tokens, args)

    size = torch.empty((), dtype=PRECISIONS[args.precision]).element_size()
    gradients = (args.tokens + vocab) * args.hidden * size
    found = {}
    for name, loss in ways.items():
        peak = peak_bytes(functools.partial(make, loss), args.device)
        found[name] = {"peak_mib": peak / 2**20, "without_gradients": (peak - gradients) / 2**20}
    for name, row in found.items():
        ratios = [row[key] / found["plain"][key] for key in row]
        print(
            f"{name:9}{row['peak_mib']:8.0f} MiB at its peak, {ratios[0]:.3f} of plain; without "
            f"gradients {row['without_gradients']:.0f} MiB, {ratios[1]:.3f}",
            flush=True,
        )
        row["of_plain"] = {"peak": ratios[0], "without_gradients": ratios[1]}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=8192, help="target tokens, N")
    parser.add_argument("--hidden", type=int, default=512, help="features, H")
    parser.add_argument("--vocab", type=int, nargs="+", default=[32768], help="V")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one warm-up")
    parser.add_argument("--short", action="store_true", help="1,024 tokens, two rounds: seconds")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    if args.short:
        args.tokens, args.rounds = 1024, 2
    torch.set_num_threads(args.threads)
    ways = {"plain": plain if args.precision == "fp32" else plain_half, "chunked": chunked}
    memory = {vocab: peaks(ways, vocab, args) for vocab in args.vocab}
    cases = {}
    for vocab in args.vocab:
        print(f"N {args.tokens}, H {args.hidden}, V {vocab}, {args.threads} threads:")
        runs = {name: pass_of(loss, vocab, args.tokens, args) for name, loss in ways.items()}
        sides = compare(run_in_turns(runs, args.rounds), "plain")
        cases[f"V={vocab}"] = {"sides": sides, "memory": memory[vocab]}
    write(args, cases=cases)


if __name__ == "__main__":
    main()
