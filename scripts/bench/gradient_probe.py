"""Time an update of a Transformer with its micro-batch gradients measured, and without, in turns.

    python scripts/bench/gradient_probe.py [--passes 1] [--every 10] [--rounds 15] [--cpu-time]

An update is K micro-batches of P passes (forward, backward), clipping and a step of Adam, with the
hooks of the probe set at its start and taken away at its end. The copies of a micro-batch are not
made: time does not depend on what differs between them, and the text is random. Prints
milliseconds an update (median, minimum, maximum over rounds), the median over rounds of the time
with the probe divided by the time without it, and what that costs if one update in ten is measured.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel
from fairseq.models.transformer.transformer_legacy import transformer_iwslt_de_en

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_bas.measure.gradient_probe import GradientProbe

LENGTH = 25


class Bench:
    """A model in training on random text; the two sides compared take turns with it."""

    def __init__(self, args: argparse.Namespace):
        torch.manual_seed(1)
        self.args = args
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dictionary = Dictionary()
        for word in range(args.vocab - len(dictionary)):
            dictionary.add_symbol(str(word))
        shape = argparse.Namespace(share_all_embeddings=True, dropout=0.3)
        transformer_iwslt_de_en(shape)
        task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
        self.model = TransformerModel.build_model(shape, task).to(self.device).train()
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=5e-4)
        size = (args.tokens // LENGTH, LENGTH + 1)
        self.words = torch.randint(4, args.vocab, size, device=self.device)
        self.lengths = torch.full((size[0],), LENGTH, device=self.device)

    def backward(self) -> None:
        """Run one pass over one micro-batch."""
        source, target = self.words[:, :-1], self.words[:, 1:]
        logits, _ = self.model(source, self.lengths, source)
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), target.flatten(), reduction="sum"
        )
        (loss / self.args.passes).backward()

    def update(self, probe: GradientProbe | None) -> None:
        """Run one update, measured if there is a probe."""
        for _ in range(self.args.micro_batches):
            if probe:
                probe.begin(self.args.passes)
            for _ in range(self.args.passes):
                if probe:
                    probe.next_pass()
                self.backward()
            if probe:
                probe.finish(self.args.tokens)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def seconds(self, measured: bool) -> float:
        """Return the seconds of one update, the device's work included."""
        clock = time.process_time if self.args.cpu_time else time.perf_counter
        self._wait()
        start = clock()
        if measured:
            with GradientProbe(self.parameters) as probe:
                self.update(probe)
        else:
            self.update(None)
        self._wait()
        return clock() - start

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--passes", type=int, default=1, help="P, passes over each micro-batch")
    parser.add_argument("--micro-batches", type=int, default=4, help="K of an update")
    parser.add_argument("--tokens", type=int, default=500, help="target tokens of a micro-batch")
    parser.add_argument("--vocab", type=int, default=10000)
    parser.add_argument("--every", type=int, default=10, help="updates between measured ones")
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds, after one warm-up")
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, not waiting")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    bench = Bench(args)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(args.rounds + 1):
        for measured in (False, True) if turn % 2 else (True, False):
            taken = bench.seconds(measured)
            if turn > 0:
                seconds[measured].append(taken)
    report(args, bench, seconds[False], seconds[True])


def report(
    args: argparse.Namespace, bench: Bench, plain: list[float], measured: list[float]
) -> None:
    """Print the table and write the JSON file."""
    rows = {}
    for name, seconds in {"plain": plain, "measured": measured}.items():
        ms = [1000 * s for s in seconds]
        rows[name] = {"median": statistics.median(ms), "min": min(ms), "max": max(ms)}
        print(
            f"{name:9} {rows[name]['median']:9.1f} ms per update ({min(ms):.1f} to {max(ms):.1f})"
        )
    ratio = statistics.median(m / p for p, m in zip(plain, measured, strict=True))
    cost = (ratio - 1) / args.every
    device = torch.cuda.get_device_name() if bench.device == "cuda" else "CPU"
    size = sum(p.numel() for p in bench.parameters) / 1e6
    print(
        f"ratio {ratio:.4f}, cost {100 * cost:.2f} % when every {args.every}th update is measured "
        f"({size:.1f} M parameters, K = {args.micro_batches}, P = {args.passes}, {device})"
    )
    if args.json:
        settings = {k: str(v) for k, v in vars(args).items()}
        args.json.write_text(json.dumps({**settings, "ms": rows, "ratio": ratio, "cost": cost}))


if __name__ == "__main__":
    main()
