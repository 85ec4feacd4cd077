"""Time what copies pay once an update against paying it for every copy, for several M, in turns.

    python scripts/bench/levers.py data-bin [--replicas 1 4 8] [--tokens 500] [--width 256]
        [--updates 1] [--rounds 5] [--threads 1] [--json FILE]

============  =============================================  ==================================
lever         once                                           for each copy
============  =============================================  ==================================
load          B sentences read and collated, then copied     every copy read and collated
pass          one padded tensor of M B rows                  M passes of B rows
encoder       encoder once (``--bas-share encoder``)         encoder for every copy
synchronise   one all-reduce of the gradient                 one after the pass of every copy
============  =============================================  ==================================

The first is the time of the loader alone, the others that of an update of a Transformer of six and
six layers; the last between two processes of this machine over gloo, with M passes. Prints for each
lever and M the milliseconds (median, minimum, maximum over rounds) and the median over rounds of
the ratio once / for each copy.
"""

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import turns  # this and the next ones are beside this file
from share_time import transformer
from torch import distributed
from update_time import Side

WORKERS = 2
Runs = dict[str, Callable[[], float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", help="folder written by fairseq-preprocess")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 4, 8], help="M, one or more")
    parser.add_argument("--tokens", type=int, default=500, help="--max-tokens")
    parser.add_argument("--width", type=int, default=256, help="of the model, a multiple of 4")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--updates", type=int, default=1, help="updates of a round")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one warm-up")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = {}
    for replicas in args.replicas:
        for lever, runs in (
            ("load", loading(args, replicas)),
            ("pass", passing(args, replicas)),
            ("encoder", encoding(args, replicas)),
        ):
            seconds = turns.run_in_turns(runs, args.rounds)
            rows[f"{lever}, M = {replicas}"] = show(lever, replicas, seconds)
        seconds = synchronising(args, replicas)
        rows[f"synchronise, M = {replicas}"] = show("synchronise", replicas, seconds)
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items()}
        document = {**settings, "torch": torch.__version__, "levers": rows}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def loading(args: argparse.Namespace, replicas: int) -> Runs:
    """Read and collate a batch and copy it, against reading and collating every copy."""
    side = transformer(args)
    from fairseq_bas.replicate import replicate  # after fairseq has imported the user-dir

    dataset = side.trainer.task.dataset("train")
    batches = list(side.epochs.frozen_batches)[:20]

    def once() -> None:
        for batch in batches:
            sample = dataset.collater([dataset[i] for i in batch])
            replicate(sample, range(replicas), replicas)

    def each() -> None:
        for batch in batches:
            dataset.collater([dataset[i] for i in batch for _ in range(replicas)])

    return {"once": functools.partial(timed, once), "each": functools.partial(timed, each)}


def passing(args: argparse.Namespace, replicas: int) -> Runs:
    """All copies in one pass, against one pass for each."""
    copies = ("--bas-replicas", str(replicas))
    return {
        "once": updating(args, *copies),
        "each": updating(args, *copies, "--bas-replicas-per-pass", "1"),
    }


def encoding(args: argparse.Namespace, replicas: int) -> Runs:
    """One encoding for all copies, against one for each; all copies in one pass."""
    copies = ("--bas-replicas", str(replicas))
    return {
        "once": updating(args, *copies, "--bas-share", "encoder"),
        "each": updating(args, *copies),
    }


def updating(args: argparse.Namespace, *flags: str) -> Callable[[], float]:
    """Build a trainer; return what runs a round of updates and returns its seconds."""
    return functools.partial(transformer(args, *flags).run, args.updates)


def synchronising(args: argparse.Namespace, replicas: int) -> dict[str, list[float]]:
    """One all-reduce an update, against one for each of M passes; on two processes."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(worker, (args, replicas, folder), nprocs=WORKERS)
        return json.loads(Path(folder, "seconds.json").read_text(encoding="utf-8"))


def worker(rank: int, args: argparse.Namespace, replicas: int, folder: str) -> None:
    """Be one of the processes; the first writes its seconds into ``folder``."""
    torch.set_num_threads(args.threads)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORKERS
    )
    flags = (
        "--distributed-world-size",
        str(WORKERS),
        "--distributed-rank",
        str(rank),
        "--num-workers",
        "0",
    )
    copies = ("--bas-replicas", str(replicas), "--bas-replicas-per-pass", "1")
    side = transformer(args, *flags, *copies, "--ddp-backend", "legacy_ddp")
    runs = {
        "once": functools.partial(side.run, args.updates),
        "each": functools.partial(traffic_after_passes, side, args.updates, replicas),
    }
    seconds = turns.run_in_turns(runs, args.rounds)
    if rank == 0:
        Path(folder, "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")
    distributed.destroy_process_group()


def traffic_after_passes(side: Side, updates: int, replicas: int) -> float:
    """Update with one more all-reduce after every pass but the last, which has its own."""
    task = side.trainer.task
    gradient = torch.zeros(sum(p.numel() for p in side.trainer.model.parameters()))
    done = 0

    def after_pass(_copies: object) -> None:
        nonlocal done
        done += 1
        if done % replicas:
            distributed.all_reduce(gradient)

    task._after_pass = after_pass
    try:
        return side.run(updates)
    finally:
        del task._after_pass


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show(lever: str, replicas: int, seconds: dict[str, list[float]]) -> dict[str, object]:
    """Print a line and return its numbers, in ms."""
    ms = {name: [1000 * value for value in values] for name, values in seconds.items()}
    ratios = [once / each for once, each in zip(ms["once"], ms["each"], strict=True)]
    times = " against ".join(
        f"{statistics.median(ms[name]):7.1f} ms ({min(ms[name]):.1f} to {max(ms[name]):.1f})"
        for name in ("once", "each")
    )
    spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
    print(
        f"{lever:12} M = {replicas}  {times}  {statistics.median(ratios):.2f} {spread}", flush=True
    )
    return {**ms, "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


if __name__ == "__main__":
    main()
