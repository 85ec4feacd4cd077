#!/usr/bin/env python3
"""Compare training in half precision with float32: losses, overflows, and the price in weights.

    python scripts/bench/half_precision.py DATA_BIN                 (CPU: tiny model, 40 updates)
    python scripts/bench/half_precision.py DATA_BIN --device cuda   (GPU: transformer-base, 300)

Trains the same model on the same sentences with the same noise in float32, fp16, bf16 and, on a
GPU, with --amp, for M = 1, 4 and 8. It reports the largest and the mean relative difference of the
loss of an update to float32's, over all updates, and overflows. Each must stay below a bound; the
exit code is 1 if one does not. On a GPU it also counts the overflows of plain fairseq at equal
rows, which is --batch-size times M distinct sentences.

The bound. Half precision rounds weights, activations and gradients to a relative u, 2^-11 for fp16
and 2^-8 for bf16, while sums, softmax, the loss and the weights that are updated stay in float32.
To first order the loss then moves by u times the sum over roundings of |value * gradient|, random
in sign, which for a loss of some nats is a few u; the updates feed differences back. So the largest
difference is held against 8 u: 0.39 % for fp16, 3.1 % for bf16. --amp is held to the bound of fp16.
Dropout is off, as its masks differ between types; the copies differ by noise of words.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"float32": 0.0, "fp16": 2.0**-11, "bf16": 2.0**-8, "amp": 2.0**-11}
FACTOR = 8
FLAGS = {"float32": [], "fp16": ["--fp16"], "bf16": ["--bf16"], "amp": ["--amp"]}
SIZES = {
    "cpu": {"layers": 2, "width": 64, "heads": 4, "updates": 40, "sentences": 8},
    "cuda": {"layers": 6, "width": 512, "heads": 8, "updates": 300, "sentences": 64},
}
NOISE = ["--bas-source-noise", "drop=0.1", "--bas-target-noise", "mask=0.1"]


def model_flags(size: dict[str, int]) -> list[str]:
    """Return flags of a transformer of that size."""
    flags = ["--arch", "transformer_iwslt_de_en", "--share-all-embeddings", "--dropout", "0"]
    for side in ("encoder", "decoder"):
        flags += [f"--{side}-layers", size["layers"], f"--{side}-embed-dim", size["width"]]
        flags += [f"--{side}-ffn-embed-dim", 4 * size["width"]]
        flags += [f"--{side}-attention-heads", size["heads"]]
    return [str(flag) for flag in flags]


def train(args: argparse.Namespace, precision: str, replicas: int, plain: bool) -> dict:
    """Train once.

    Args:
        args: of the command.
        precision: key of ``FLAGS``.
        replicas: M.
        plain: train fairseq's own task on M times as many sentences instead.

    Returns:
        ``losses`` of the updates in base 2, and how many updates ``overflows`` skipped.
    """
    task = ["--task", "translation", "--criterion", "label_smoothed_cross_entropy"]
    sentences = args.sentences * replicas
    if not plain:
        task = ["--task", "bas_translation", "--criterion", args.criterion, *NOISE]
        task += ["--bas-replicas", str(replicas)]
        sentences = args.sentences
    with tempfile.TemporaryDirectory() as folder:
        flags = [
            *(args.data, *task, *model_flags(vars(args)), *FLAGS[precision]),
            *("--user-dir", ROOT / "fairseq_bas", "--save-dir", folder, "--no-save"),
            *("--batch-size", sentences, "--max-update", args.updates, "--disable-validation"),
            *("--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--clip-norm", 1),
            *("--lr", args.lr, "--lr-scheduler", "inverse_sqrt", "--warmup-updates", 20),
            *("--label-smoothing", 0.1, "--seed", 1, "--num-workers", 0, "--log-interval", 1),
            *("--fp16-init-scale", args.scale, "--fp16-scale-window", args.window),
            *("--log-format", "json", "--distributed-world-size", 1),
            *(["--cpu"] if args.device == "cpu" else []),
        ]
        command = [sys.executable, "-m", "fairseq_cli.train", *map(str, flags)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{precision}, M = {replicas}: training failed\n{done.stderr[-2000:]}")
    log = done.stdout + done.stderr
    lines = [
        line.split(" | train_inner | ")[1] for line in log.splitlines() if "train_inner" in line
    ]
    losses = [float(json.loads(line)["loss"]) for line in lines]
    skipped = log.count("gradient overflow detected") + log.count("AMP: overflow detected")
    return {"losses": losses, "overflows": skipped}


def compare(run: dict, whole: list[float]) -> tuple[float, float]:
    """Return the largest and the mean relative difference of two curves.

    An update that overflowed moves the sentences of all later ones, so that only runs without
    overflow can be compared: the loss scale is chosen for that.
    """
    if run["overflows"]:
        sys.exit(f"{run['overflows']} updates were skipped and shift the others; lower --scale")
    apart = [abs(a - b) / b for a, b in zip(run["losses"], whole, strict=True)]
    return max(apart), sum(apart) / len(apart)


def arguments() -> argparse.Namespace:
    """Read the command line; sizes that were not given are those of the device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a directory of fairseq-preprocess")
    parser.add_argument("--device", choices=SIZES, default="cpu")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--criterion", default="bas_cross_entropy")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument(
        "--scale", type=float, default=16, help="the loss scale that fp16 begins with"
    )
    parser.add_argument("--window", type=int, default=10**6, help="updates until it is doubled")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    for name in SIZES["cpu"]:
        parser.add_argument(f"--{name}", type=int)
    args = parser.parse_args()
    for name, value in SIZES[args.device].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def main() -> None:
    """Train all, print the table, and fail if a bound is broken."""
    args, rows = arguments(), []
    precisions = [p for p in FLAGS if p != "amp" or args.device == "cuda"]
    print(
        "| M | precision | first loss | last loss | largest diff | mean diff | bound | overflows |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for replicas in args.replicas:
        whole = None
        for precision in precisions:
            run = train(args, precision, replicas, plain=False)
            whole = whole or run["losses"]
            row = {"replicas": replicas, "precision": precision, **run}
            row["largest"], row["mean"] = compare(run, whole)
            row["bound"] = FACTOR * UNITS[precision]
            rows.append(row)
            print(
                f"| {replicas} | {precision} | {run['losses'][0]:.3f} | {run['losses'][-1]:.3f} | "
                f"{row['largest']:.3%} | {row['mean']:.3%} | {row['bound']:.2%} | "
                f"{run['overflows']} |",
                flush=True,
            )
    if args.device == "cuda":
        rows += overflow_counts(args)
    if args.json:
        args.json.write_text(json.dumps({"settings": str(vars(args)), "rows": rows}, indent=1))
    broken = [r for r in rows if r.get("largest", 0) > r.get("bound", 0)]
    sys.exit(1 if broken else 0)


def overflow_counts(args: argparse.Namespace) -> list[dict]:
    """Count overflows from fairseq's first loss scale on, against plain fairseq at equal rows."""
    args.scale, args.window, rows = 2**20, 32, []
    print("\n| rows | precision | M copies: overflows | fairseq's at equal rows |")
    print("| --- | --- | --- | --- |")
    for replicas in args.replicas:
        for precision in ("fp16", "amp"):
            ours, plain = (train(args, precision, replicas, plain=p) for p in (False, True))
            counts = [ours["overflows"], plain["overflows"]]
            print(f"| {args.sentences * replicas} | {precision} | {counts[0]} | {counts[1]} |")
            rows.append({"replicas": replicas, "precision": precision, "overflow_counts": counts})
    return rows


if __name__ == "__main__":
    main()
