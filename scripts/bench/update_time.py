"""Time an update with M copies against plain fairseq with as many rows, in one process, in turns.

    python scripts/bench/update_time.py data-bin [--replicas 4] [--tokens 1000] [--precision fp32]

Both train the same architecture; plain fairseq reads M times as many distinct sentences, so that
both push equally many rows through the model. Prints milliseconds per update (median, minimum,
maximum over rounds), the ratio of the medians and, on a GPU, the peak memory of each. With
``--precision fp16`` or ``bf16`` it needs a GPU.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.data import iterators
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]


def build(arguments: argparse.Namespace, task: str, tokens: int, *extra: str) -> "Side":
    """Build a trainer from ``fairseq-train`` flags."""
    flags = [
        *(arguments.data, "--user-dir", str(ROOT / "fairseq_bas"), "--task", task),
        *("--arch", arguments.arch, "--share-all-embeddings", "--dropout", "0.3"),
        *("--criterion", arguments.criterion, "--label-smoothing", "0.1"),
        *("--optimizer", "adam", "--lr", "0.0005", "--max-tokens", str(tokens)),
        *("--save-dir", "/nonexistent", *extra),
    ]
    flags += [] if torch.cuda.is_available() else ["--cpu"]
    flags += ["--fp16"] if arguments.precision == "fp16" else []
    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, flags))
    cfg.common.bf16 = arguments.precision == "bf16"  # the flag --bf16 selects fairseq's TPU path
    utils.set_torch_seed(1)
    return Side(cfg)


class Side:
    """One of the two things compared: a trainer with its endless stream of updates."""

    def __init__(self, cfg):
        task = tasks.setup_task(cfg.task)
        model = task.build_model(cfg.model)
        self.trainer = Trainer(cfg, task, model, task.build_criterion(cfg.criterion))
        _, self.epochs = checkpoint_utils.load_checkpoint(cfg.checkpoint, self.trainer)
        self.updates, self.seconds, self.peak = self._updates(), [], 0

    def _updates(self):
        while True:
            self.trainer.begin_epoch(self.epochs.next_epoch_idx)
            yield from iterators.GroupedIterator(self.epochs.next_epoch_itr(), 1)

    def run(self, updates: int) -> float:
        """Train and return the seconds that took, the device's work included."""
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        for _ in range(updates):
            self.trainer.train_step(next(self.updates))
        if on_gpu:
            torch.cuda.synchronize()
            self.peak = max(self.peak, torch.cuda.max_memory_allocated())
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="folder written by fairseq-preprocess")
    parser.add_argument("--replicas", type=int, default=4, help="M")
    parser.add_argument("--tokens", type=int, default=1000, help="--max-tokens of the copied batch")
    parser.add_argument("--arch", default="transformer_iwslt_de_en")
    parser.add_argument("--criterion", default="label_smoothed_cross_entropy")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32")
    parser.add_argument("--updates", type=int, default=5, help="updates of a round")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, after one warm-up")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    if args.precision != "fp32" and not torch.cuda.is_available():
        raise SystemExit(f"--precision {args.precision} needs a GPU; leave it out on a CPU")
    sides = {
        "copies": build(args, "bas_translation", args.tokens, "--bas-replicas", str(args.replicas)),
        "plain": build(args, "translation", args.tokens * args.replicas),
    }
    for turn in range(args.rounds + 1):
        for side in sides.values():
            seconds = side.run(args.updates) / args.updates
            if turn > 0:
                side.seconds.append(seconds)
    report(args, sides)


def report(args: argparse.Namespace, sides: dict[str, Side]) -> None:
    """Print the table and write the JSON file."""
    rows = {}
    for name, side in sides.items():
        ms = [1000 * s for s in side.seconds]
        rows[name] = {"median": statistics.median(ms), "min": min(ms), "max": max(ms)}
        rows[name]["peak_mib"] = side.peak / 2**20
        print(f"{name:7} {rows[name]['median']:9.1f} ms per update", end="")
        print(f" ({min(ms):.1f} to {max(ms):.1f}), peak {side.peak / 2**20:.0f} MiB on the GPU")
    ratio = rows["copies"]["median"] / rows["plain"]["median"]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"ratio {ratio:.3f} (M = {args.replicas}, {args.precision}, {device})")
    if args.json:
        settings = {k: str(v) for k, v in vars(args).items()}
        args.json.write_text(json.dumps({**settings, "ms": rows, "ratio": ratio}, indent=1))


if __name__ == "__main__":
    main()
