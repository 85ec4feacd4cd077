"""Kill a short training again and again by SIGKILL, anywhere and often while it saves.

After every kill the same command is started again. From outside, without a word from the run, it
is checked that from the first save on there is a checkpoint that can be loaded, that no name ever
points to a file which is not whole, and that the run ends with parameters and optimizer state
bit-equal to those of a run that was left alone::

    python scripts/bench/kills.py --kills 50 --workers 1
    python scripts/bench/kills.py --kills 20 --workers 2

Prints a report; exit code 1 if any check failed. The training is that of the tests: a tiny
Transformer on a toy corpus, noised copies, a validation and four files every other update.
"""

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from fairseq_bas.checkpoint import damage, updates_of
from fairseq_bas.safe_load import load_checked
from tests.processes import run_cli, run_workers, start_workers
from tests.resume_runs import tensors
from tests.toys import make_toy, tiny_transformer

UPDATES_A_KILL = 12
SAVE = ("Preparing to save checkpoint", "Saved checkpoint")
SAVED_PARTS = ("model", "last_optimizer_state")


@dataclass
class Report:
    """Count what happened.

    Attributes:
        kills: processes, or groups of them, that were killed.
        in_save: kills between the start of a save and its end, by the log.
        in_write: kills that left a temporary file behind.
        before_update: kills before the first update, while starting or loading.
        checked: states of checkpoint files that were read whole and compared with their digest.
        problems: one sentence each; none if all is well.
    """

    kills: int = 0
    in_save: int = 0
    in_write: int = 0
    before_update: int = 0
    checked: int = 0
    problems: list[str] = field(default_factory=list)


class Folder:
    """Look at the checkpoints of a run from outside."""

    def __init__(self, path: Path, report: Report):
        self.path, self.report = path, report
        self.has_saved = False
        self._seen: dict[str, tuple[int, int, int]] = {}

    def temporaries(self) -> set[str]:
        """Return the names of the files that are being written, or were when the writer died."""
        return {path.name for path in self.path.glob("*.tmp")}

    def check(self) -> None:
        """Read every checkpoint that has changed since the last look."""
        good = False
        for path in self.path.glob("checkpoint*.pt"):
            with contextlib.suppress(FileNotFoundError):  # old ones are removed by the run
                status = path.stat()
                state = (status.st_ino, status.st_size, status.st_mtime_ns)
                if self._seen.get(path.name) != state:
                    problem = damage(path)
                    if problem and path.exists():
                        self.report.problems.append(f"{path.name} {problem}")
                        continue
                    self._seen[path.name] = state
                    self.report.checked += 1
                good = True
        if self.has_saved and not good:
            self.report.problems.append("there was no checkpoint that can be loaded")
        self.has_saved = self.has_saved or good


def command(data, save_dir: Path, updates: int) -> list[object]:
    """Return the flags of the training: four files in a save, old ones removed."""
    return [
        *tiny_transformer(data, save_dir, task="bas_translation"),
        *("--dropout", 0.2, "--bas-replicas", 2, "--bas-source-noise", "drop=0.1,mask=0.1"),
        *("--batch-size", 8, "--max-update", updates, "--save-interval-updates", 2),
        *("--keep-interval-updates", 2, "--keep-last-epochs", 2, "--keep-best-checkpoints", 2),
    ]


def kill_once(workers: int, flags: list[object], folder: Folder, draw: random.Random) -> bool:
    """Start the training, kill it at a random moment, look at what is left.

    Returns:
        Whether it was killed; False if it ended before.
    """
    processes = start_workers(workers, "fairseq_cli.train", *flags)
    in_save = draw.random() < 0.6
    wait_for_moment(processes, folder, draw, in_save)
    alive = all(process.returncode is None for process in processes)
    for process in processes:
        process.kill()
    logs = []
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            logs.append("".join(process.communicate(timeout=60)))
    if not alive:
        return False
    report = folder.report
    report.kills += 1
    report.in_save += logs[0].count(SAVE[0]) > logs[0].count(SAVE[1])
    report.in_write += bool(folder.temporaries())
    report.before_update += "| train_inner |" not in logs[0]
    folder.check()
    return True


def wait_for_moment(processes, folder: Folder, draw: random.Random, in_save: bool) -> None:
    """Wait for a random time: from the start, or from the beginning of some file of some save.

    Never for longer than some files take, so that a fast machine does not reach the end of the run.
    """
    left, known = draw.randint(1, 8), folder.temporaries()
    deadline = time.monotonic() + (120 if in_save else draw.uniform(0, 3))
    while left and time.monotonic() < deadline and processes[0].returncode is None:
        names = folder.temporaries()
        left -= bool(names - known)
        known |= names
        folder.check()
        time.sleep(0.001)
    if in_save:
        time.sleep(draw.uniform(0, 0.02))


def differences(one: Path, other: Path) -> list[str]:
    """Return what is not bit-equal in two checkpoints."""
    states = [load_checked(str(path / "checkpoint_last.pt")) for path in (one, other)]
    found = []
    for part in SAVED_PARTS:
        ours, theirs = (dict(tensors(state[part])) for state in states)
        found += [f"{part}{name} is in one run only" for name in ours.keys() ^ theirs.keys()]
        found += [
            f"{part}{name} differs"
            for name in ours.keys() & theirs.keys()
            if not torch.equal(ours[name], theirs[name])
        ]
    return found


def experiment(kills: int, workers: int, seed: int, folder: Path) -> Report:
    """Train once undisturbed and once killed ``kills`` times, and compare."""
    data, draw, report = make_toy(folder / "data"), random.Random(seed), Report()
    updates = UPDATES_A_KILL * kills + 8
    run = run_workers if workers > 1 else lambda _, *args: run_cli(*args)
    run(workers, "fairseq_cli.train", *command(data, folder / "whole", updates))
    flags = command(data, folder / "killed", updates)
    watched = Folder(folder / "killed", report)
    while report.kills < kills:
        if not kill_once(workers, flags, watched, draw):
            report.problems.append(f"the run ended after {report.kills} kills")
            break
    run(workers, "fairseq_cli.train", *flags)
    watched.check()
    if watched.temporaries():
        report.problems.append(f"left behind: {sorted(watched.temporaries())}")
    report.problems += differences(folder / "whole", folder / "killed")
    ended = updates_of(folder / "killed" / "checkpoint_last.pt")
    if ended != updates:
        report.problems.append(f"the run ended at update {ended} of {updates}")
    return report


def main() -> int:
    """Run the experiment and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="number of kills (default: 50)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    args = parser.parse_args()
    folder, started = Path(tempfile.mkdtemp(prefix="kills-")), time.monotonic()
    try:
        report = experiment(args.kills, args.workers, args.seed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{report.kills} kills of {args.workers} worker{'s' * (args.workers > 1)} in "
        f"{time.monotonic() - started:.0f} s: {report.in_save} while saving, of which "
        f"{report.in_write} left an unfinished file, {report.before_update} before the first update"
    )
    print(
        f"{report.checked} states of checkpoint files read from outside, all whole and loadable"
        if not report.problems
        else "\n".join(dict.fromkeys(report.problems))
    )
    print(
        "parameters and optimizer state bit-equal to the uninterrupted run: "
        f"{'no' if any('differs' in problem for problem in report.problems) else 'yes'}"
    )
    return bool(report.problems)


if __name__ == "__main__":
    sys.exit(main())
