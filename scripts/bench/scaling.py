"""Predict time per update and to quality for many workers and copies, from parts measured here.

    python scripts/bench/scaling.py [DATA] [--check] [--json FILE] [--figure FILE.png]
    python scripts/bench/scaling.py --machine FILE.json [--bandwidth 10 --workers-per-machine 8 ...]

Measures the parts of an update on this machine (with a toy corpus where no DATA is given), puts
them into a simulator and prints tables for 1 to 1,024 workers and 1 to 32 copies. ``--check`` also
trains in 1, 2 and 4 processes and compares. ``--machine`` takes the parts from the JSON file of an
earlier call instead of measuring. Numbers of other machines come from flags only: whatever is not
given is as measured here. docs/scaling.md has the assumptions.
"""

import argparse
import contextlib
import functools
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling_figure import draw
from scaling_machine import add_machine_flags, contention_of, given_machine
from scaling_predict import compare_with_text, jobs, predict
from scaling_report import check_table, conclusion, grid, parts_table, short


def main() -> None:
    """Measure or read, check, predict, print."""
    args = parser().parse_args()
    try:
        run(args)
    except (ValueError, OSError) as error:
        sys.exit(f"scaling.py: {error}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    flags = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    flags.add_argument("data", nargs="?", help="folder written by fairseq-preprocess")
    flags.add_argument("--check", action="store_true", help="compare with 1, 2 and 4 processes")
    flags.add_argument("--machine", type=Path, help="JSON file of an earlier call; measure nothing")
    flags.add_argument("--json", type=Path, help="write parts, check and predictions here")
    flags.add_argument("--figure", type=Path, help="PNG file; needs matplotlib")
    measured = flags.add_argument_group("what is measured")
    measured.add_argument("--tokens", type=int, default=250, help="--max-tokens of a micro-batch")
    measured.add_argument("--width", type=int, default=256, help="of the model, a multiple of 4")
    measured.add_argument("--layers", type=int, default=1, help="of encoder and of decoder")
    measured.add_argument("--rounds", type=int, default=3, help="counted rounds")
    measured.add_argument("--updates", type=int, default=8, help="updates of a round")
    measured.add_argument("--cpu", action="store_true", help="leave CUDA devices alone")
    wanted = flags.add_argument_group("what is predicted")
    powers = [2**n for n in range(11)]
    wanted.add_argument("--workers", type=int, nargs="+", default=powers, help="W")
    wanted.add_argument("--replicas", type=int, nargs="+", default=powers[:6], help="M")
    wanted.add_argument("--correlation", type=float, default=0.36, help="of copies' gradients")
    wanted.add_argument(
        "--critical-batch", type=float, nargs="+", default=[1e3, 2e5], help="target tokens"
    )
    add_machine_flags(flags)
    return flags


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    refuse(args)
    document: dict[str, Any] = {"settings": {k: str(v) for k, v in vars(args).items()}}
    if args.machine:
        document |= read(args.machine)
    else:
        with text(args):
            document |= measure_here(args)
    print(describe(document["host"]))
    print(parts_table(document["parts"]))
    if document["check"]:
        print(f"\npredicted against measured here\n{check_table(document['check'])}")
    if not document["parts"]["network"] and args.bandwidth is None:
        print("\none device, so no all-reduce was measured: one worker; give --bandwidth for more")
        args.workers = [1]
    machine, assumptions = given_machine(document["parts"], document["host"], args)
    tokens = args.batch_tokens or document["parts"]["tokens"]
    rows = [
        predict(machine, job, tokens, args.correlation, args.critical_batch)
        for job in jobs(sorted(set(args.workers)), sorted(set(args.replicas)))
    ]
    compared = compare_with_text(rows)
    print(f"\n{assumptions}\n\n{tables(rows, args)}\n\n{conclusion(compared)}")
    document |= {"assumptions": assumptions, "predictions": rows, "against_text": compared}
    if args.json:
        args.json.write_text(json.dumps(document) + "\n", encoding="utf-8")
    if args.figure:
        draw(rows, args.critical_batch, args.figure)


def refuse(args: argparse.Namespace) -> None:
    """Raise ValueError for numbers that cannot be, before anything is measured."""
    whole = ("tokens", "width", "layers", "rounds", "updates")
    for name in whole:
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} {getattr(args, name)} is too small; give 1 or more")
    for name in ("workers", "replicas"):
        if min(getattr(args, name)) < 1:
            raise ValueError(f"--{name} has a number below 1; give whole numbers from 1")
    if min(args.critical_batch) < 0:
        raise ValueError("--critical-batch has a negative number; give 0 or more target tokens")
    if args.machine and (args.check or args.data):
        raise ValueError("--machine measures nothing; leave out DATA and --check, or --machine")
    for path in filter(None, (args.json, args.figure)):
        if not path.absolute().parent.is_dir():
            raise ValueError(f"the folder of {path} does not exist; make it first")


@contextlib.contextmanager
def text(args: argparse.Namespace) -> Iterator[None]:
    """Make a toy corpus for the time of the measurement if no data are given."""
    from scaling_workers import make_text

    with tempfile.TemporaryDirectory() as folder:
        args.data = args.data or str(make_text(Path(folder)))
        yield


def measure_here(args: argparse.Namespace) -> dict[str, Any]:
    """Measure the parts, and check them if that was asked for; return plain values."""
    import torch
    from scaling_check import check
    from scaling_measure import measure

    args.cpu = args.cpu or not torch.cuda.is_available()
    args.cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    host = {
        "device": _cpu() if args.cpu else torch.cuda.get_device_name(),
        "devices": args.cores if args.cpu else torch.cuda.device_count(),
        "cpu": args.cpu,
        "cores": args.cores,
        "load": load,
        "torch": torch.__version__,
    }
    parts = measure(args)
    parts["contention"] = contention_of(parts, host)
    rows = []
    if args.check:
        machine, _ = given_machine(parts, host, None)
        rows = check(machine, args)
    return {"host": host, "parts": parts, "check": rows}


def _cpu() -> str:
    """Return the name of the processor, as Linux has it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def read(path: Path) -> dict[str, Any]:
    """Return host, parts and check of an earlier call."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {name: document[name] for name in ("host", "parts", "check")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a file that --json wrote ({error!r}); measure again with --json"
        ) from error


def describe(host: dict[str, Any]) -> str:
    """Name the machine, and say so where it was busy with other things."""
    line = f"{host['device']}, {host['cores']} cores, torch {host['torch']}"
    if host["load"] > host["cores"] / 4:
        line += (
            f"\nNOT IDLE: other work was running at the start (load {host['load']:.1f} on "
            f"{host['cores']} cores), so times are too long and the check is unfair"
        )
    return line


def tables(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """Return the tables of predictions."""
    texts = [grid(rows, "ms an update", lambda row: short(1e3 * row["update"]))]
    base = min(rows, key=lambda row: (row["workers"], row["replicas"]))
    for n, critical in enumerate(args.critical_batch):
        for name, label in (("quality", "time"), ("text", "distinct text")):
            title = (
                f"{label} to quality, relative, for a critical batch of {critical:,.0f} target "
                f"tokens and a correlation of {args.correlation:g}"
            )
            shown = [r for r in rows if name == "quality" or r["placement"] != "passes"]
            texts.append(grid(shown, title, functools.partial(_relative, base, name, n)))
    return "\n\n".join(texts)


def _relative(base: dict[str, Any], name: str, number: int, row: dict[str, Any]) -> str:
    return short(row[name][number] / base[name][number])


if __name__ == "__main__":
    main()
