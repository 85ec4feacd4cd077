"""Measure what the plugin adds to the start of a run, in fresh processes, in turns.

    python scripts/bench/startup.py [--rounds 7] [--sentences 1000000] [--json FILE]

- Import: CPU seconds of ``import fairseq_cli.train``, and of the plugin as user-dir after it.
- Start: CPU seconds from setting up the task to the first micro-batch of training, plain fairseq's
  and this plugin's, on a made corpus of ``--sentences`` pairs; none with 0.

The second is a difference. The operating system holds all files after the warm-up round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import claims
from made_corpus import write_corpus

ROOT = Path(__file__).resolve().parents[2]

IMPORT_FAIRSEQ = """
import time
import fairseq_cli.train
print(time.process_time())
"""

IMPORT_PLUGIN = """
import argparse, time
import fairseq_cli.train
from fairseq import utils
begin = time.process_time()
utils.import_user_module(argparse.Namespace(user_dir={user_dir!r}))
print(time.process_time() - begin)
"""

START = """
import os, sys, time
sys.path.insert(0, {here!r})
import argparse
from fairseq import options, tasks
from trainer_side import Side, build
begin = time.process_time()
given = argparse.Namespace(data={data!r}, arch="transformer_iwslt_de_en", precision="fp32",
                           criterion="label_smoothed_cross_entropy")
tiny = [f"--{{side}}-{{what}}" for side in ("encoder", "decoder")
        for what in ("layers=1", "embed-dim=8", "ffn-embed-dim=8", "attention-heads=1")]
side = build(given, {task!r}, 4000, *tiny, "--num-workers", "0")
next(side.updates)
print(time.process_time() - begin, flush=True)
os._exit(0)  # a thread of fairseq's is still loading
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sentences", type=int, default=1_000_000, help="pairs [%(default)s]")
    parser.add_argument("--rounds", type=int, default=7, help="counted, after one [%(default)s]")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    plugin = IMPORT_PLUGIN.format(user_dir=str(ROOT / "fairseq_bas"))
    imports = {"fairseq": IMPORT_FAIRSEQ, "then the plugin": plugin}
    seconds = {"import": in_turns(imports, args.rounds)}
    text = "importing the plugin, after fairseq"
    entries = [claims.claim(text, 0.3, seconds["import"]["then the plugin"], unit="s")]
    if args.sentences:
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(Path(folder), args.sentences, vocab=1000)
            values = {"here": str(Path(__file__).parent), "data": folder}
            starts = {task: START.format(task=task, **values) for task in TASKS}
            seconds["start"] = in_turns(starts, min(args.rounds, 3))
        text = f"start of training on {args.sentences:,} pairs, beyond fairseq's"
        entries.append(added(text, None, seconds["start"]))
    for what, sides in seconds.items():
        for name, times in sides.items():
            middle = statistics.median(times)
            print(f"{what}, {name}: {middle:.2f} s ({min(times):.2f} to {max(times):.2f})")
    claims.show(entries)
    if args.json:
        document = {**claims.machine(), "seconds": seconds, "claims": entries}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


TASKS = ("translation", "bas_translation")


def in_turns(scripts: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Run scripts that print seconds, each in a process of its own; one round does not count."""
    # As users have it: compiled once, whatever this environment says.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[float]] = {name: [] for name in scripts}
    for turn in range(rounds + 1):
        for name, script in scripts.items():
            command = [sys.executable, "-W", "ignore", "-c", script]
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env=environment
            )
            if done.returncode:
                sys.exit(f"the process of {name} failed: {done.stderr.strip()[-2000:]}")
            if turn > 0:
                seconds[name].append(float(done.stdout.split()[-1]))
    return seconds


def added(text: str, goal: float | None, sides: dict[str, list[float]]) -> claims.Claim:
    """Return the claim about what the second of two sides takes beyond the first."""
    first, second = sides.values()
    return claims.claim(text, goal, [b - a for a, b in zip(first, second, strict=True)], unit="s")


if __name__ == "__main__":
    main()
