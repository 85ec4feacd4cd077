"""Time the chunked label-smoothed loss against the plain way, forward and backward, in turns.

    python scripts/bench/chunked_loss.py [--tokens 4096] [--vocab 10000 32768] [--threads 1]

The plain way is torch's linear layer, log-softmax and fairseq's own loss function. Prints CPU
seconds (median, minimum, maximum over rounds) and the ratio of the medians.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_bas.nn.chunked_loss import chunked_smoothed_loss

PAD = 1


def plain(features, weight, target):
    """Return fairseq's loss from full logits."""
    lprobs = F.linear(features, weight).log_softmax(-1)
    return label_smoothed_nll_loss(lprobs, target, 0.1, ignore_index=PAD)[0]


def chunked(features, weight, target):
    """Return ours."""
    return chunked_smoothed_loss(features, weight, None, target, 0.1, padding_idx=PAD)[0]


def measure(tokens: int, hidden: int, vocab: int, rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each round for both ways."""
    features = torch.randn(tokens, hidden, requires_grad=True)
    weight = (0.05 * torch.randn(vocab, hidden)).requires_grad_()
    target = torch.randint(PAD + 1, vocab, (tokens,))
    seconds: dict[str, list[float]] = {"plain": [], "chunked": []}
    for turn in range(rounds + 1):
        for name, loss in (("plain", plain), ("chunked", chunked)):
            features.grad = weight.grad = None
            start = time.process_time()
            loss(features, weight, target).backward()
            if turn > 0:
                seconds[name].append(time.process_time() - start)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=4096, help="target tokens, N")
    parser.add_argument("--hidden", type=int, default=512, help="features, H")
    parser.add_argument("--vocab", type=int, nargs="+", default=[10000, 32768], help="V")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one warm-up")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for vocab in args.vocab:
        seconds = measure(args.tokens, args.hidden, vocab, args.rounds)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        for name, times in seconds.items():
            print(
                f"V {vocab} {name:8} {medians[name]:.2f} s ({min(times):.2f} to {max(times):.2f})"
            )
        print(f"V {vocab} ratio {medians['chunked'] / medians['plain']:.2f}")


if __name__ == "__main__":
    main()
