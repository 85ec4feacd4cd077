"""Time the step of layer-wise optimizers on the weights of a Transformer, in one process, in turns.

    python scripts/bench/optimizers.py [--rounds 9] [--steps 2] [--threads 1] [--json FILE]
        [--embed-dim 512] [--ffn-dim 2048] [--layers 6] [--vocab 32000] [--device cuda]

adamw     torch.optim.AdamW with its defaults (foreach on a GPU), what the others are divided by
fused     torch.optim.AdamW(fused=True)
bas_*     this package's; bas_lamb_rows with the embedding row-wise
*_metrics the same, and its trust ratios turned into numbers after each step
po_*      those of the package pytorch_optimizer, where it is installed

Prints milliseconds a step (median, minimum, maximum over rounds), and the median over rounds of
the time of each divided by that of ``adamw`` in the same round. Gradients are fixed random numbers:
time does not depend on them. Each side has weights of its own.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import turns

from fairseq_bas.optim.lamb import LAMB
from fairseq_bas.optim.lars import LARS
from fairseq_bas.optim.novograd import NovoGrad
from fairseq_bas.optim.trust_ratio import mean_by_group

DECAY = {"lr": 1e-3, "weight_decay": 0.01}


def transformer_shapes(args: argparse.Namespace) -> list[tuple[int, ...]]:
    """Return the shapes of the weights of a Transformer with one shared embedding."""
    d, f = args.embed_dim, args.ffn_dim
    norm, attention = [(d,), (d,)], [(d, d), (d,)] * 4
    feed_forward = [(f, d), (f,), (d, f), (d,)]
    encoder = [*attention, *norm, *feed_forward, *norm]
    decoder = [*attention, *norm, *attention, *norm, *feed_forward, *norm]
    return [(args.vocab, d), *(encoder * args.layers), *(decoder * args.layers)]


def rows(params: list[Tensor]) -> list[dict]:
    """Return groups in which the embedding, the first weight, is row-wise."""
    return [{"params": params[:1], "rowwise": True}, {"params": params[1:]}]


def makers() -> dict[str, Callable]:
    """Return what makes each optimizer from a list of parameters."""
    sides: dict[str, Callable] = {
        "adamw": lambda p: torch.optim.AdamW(p, **DECAY),
        "fused": lambda p: torch.optim.AdamW(p, fused=True, **DECAY),
        "bas_lamb": lambda p: LAMB(p, **DECAY),
        "bas_lamb_metrics": lambda p: LAMB(p, **DECAY),
        "bas_lamb_rows": lambda p: LAMB(rows(p), **DECAY),
        "bas_lars": lambda p: LARS(p, **DECAY),
        "bas_novograd": lambda p: NovoGrad(p, **DECAY),
    }
    try:
        import pytorch_optimizer as package
    except ImportError:
        return sides
    sides["po_lamb"] = lambda p: package.Lamb(p, weight_decouple=False, **DECAY)
    sides["po_lars"] = lambda p: package.LARS(p, **DECAY)
    sides["po_novograd"] = lambda p: package.NovoGrad(p, **DECAY)
    return sides


class Side:
    """One of the things compared."""

    def __init__(self, name: str, make: Callable, args: argparse.Namespace):
        generator = torch.Generator().manual_seed(1)
        self.params = []
        for shape in transformer_shapes(args):
            p = torch.nn.Parameter(torch.randn(shape, generator=generator).to(args.device) / 20)
            p.grad = torch.randn(shape, generator=generator).to(args.device) / 1000
            self.params.append(p)
        self.optimizer, self.reads = make(self.params), name.endswith("_metrics")

    def run(self, args: argparse.Namespace) -> float:
        """Return the seconds of a step, the mean of a few."""
        wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        for _ in range(args.steps):
            self.optimizer.step()
            if self.reads:
                ratios = list(self.optimizer.ratios().values())
                mean_by_group(ratios, ["all"] * len(ratios))
        wait()
        return (time.perf_counter() - start) / args.steps


def arguments() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--embed-dim", type=int, default=512)
    parser.add_argument("--ffn-dim", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=6, help="of encoder and of decoder")
    parser.add_argument("--vocab", type=int, default=32_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--steps", type=int, default=2, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds, after one warm-up")
    parser.add_argument("--only", nargs="+", help="leave all sides but adamw and these out")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = arguments()
    torch.set_num_threads(args.threads)
    chosen = {"adamw", *(args.only or makers())}
    sides = {name: Side(name, make, args) for name, make in makers().items() if name in chosen}
    seconds = turns.run_in_turns(
        {name: functools.partial(side.run, args) for name, side in sides.items()}, args.rounds
    )
    turns.report(seconds, "adamw", args)


if __name__ == "__main__":
    main()
