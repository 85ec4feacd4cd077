"""Cases through real processes: what a user sees of damaged input is one line and exit code 1."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz_files import Material, damage
from fuzz_material import MODEL, ROOT, TRAIN
from fuzz_mutations import pick
from fuzz_outcome import BUG, REFUSED, WORKED, Outcome
from fuzz_text import TEXT_KINDS

KIND = "commands"
SECONDS = 120


def command_outcomes(material: Material, number: int) -> list[Outcome]:
    """Run so many commands on damaged input, each kind of command in turn.

    Args:
        material: correct files.
        number: of commands.
    """
    ways = (_train_on_data, _train_with_flag, _resume, _generate, _check, _score)
    return [ways[seed % len(ways)](material, seed) for seed in range(number)]


def _train_on_data(material: Material, seed: int) -> Outcome:
    generator = random.Random(f"{KIND} {seed}")
    copy = material.work / f"data{seed}"
    shutil.copytree(material.translation, copy)
    victims = [path for path in sorted(copy.iterdir()) if path.suffix in (".idx", ".bin", ".txt")]
    victims = [path for path in victims if "test" not in path.name]
    victim = generator.choice(victims)
    damage(victim, victim, generator)
    return _run(seed, "fairseq_cli.train", *_training(material, seed, copy))


def _train_with_flag(material: Material, seed: int) -> Outcome:
    generator = random.Random(f"{KIND} {seed}")
    flag = generator.choice([name for name in TEXT_KINDS if name in _FLAGS])
    text = pick(TEXT_KINDS[flag][1], generator).replace("\0", "")
    text = text.encode(errors="replace").decode()
    flags = _training(material, seed, material.translation)
    return _run(seed, "fairseq_cli.train", *flags, f"{flag}={text}")


_FLAGS = ("--bas-replicas", "--bas-batch-schedule", "--bas-source-noise", "--bas-target-noise")


def _resume(material: Material, seed: int) -> Outcome:
    flags = _training(material, seed, material.translation)
    folder = material.work / f"run{seed}"
    folder.mkdir()
    damage(material.checkpoint, folder / "checkpoint_last.pt", random.Random(f"{KIND} {seed}"))
    return _run(seed, "fairseq_cli.train", *flags)


def _generate(material: Material, seed: int) -> Outcome:
    path = material.work / f"generate{seed}.pt"
    damage(material.checkpoint, path, random.Random(f"{KIND} {seed}"))
    plugin = ("--user-dir", str(ROOT / "fairseq_bas"), "--cpu", "--beam", "1")
    return _run(
        *(seed, "fairseq_cli.generate", str(material.translation), "--path", str(path), *plugin)
    )


def _check(material: Material, seed: int) -> Outcome:
    path = material.work / f"check{seed}.pt"
    damage(material.checkpoint, path, random.Random(f"{KIND} {seed}"))
    return _run(
        *(seed, "fairseq_bas", "check", str(material.translation), "--path", str(path)),
        reports=True,
    )


def _score(material: Material, seed: int) -> Outcome:
    path = material.work / f"score{seed}.txt"
    damage(material.hypotheses, path, random.Random(f"{KIND} {seed}"))
    return _run(seed, "fairseq_bas", "score", str(path), "--ref", str(material.reference))


def _training(material: Material, seed: int, data: Path) -> Sequence[str]:
    folder = material.work / f"run{seed}"
    return [str(data), "--task", "bas_translation", *MODEL, *TRAIN, "--save-dir", str(folder)]


def _run(seed: int, module: str, *arguments: str, reports: bool = False) -> Outcome:
    """Run a command; ``reports`` says that it prints what it refuses on standard output."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=SECONDS, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return Outcome(KIND, seed, BUG, f"hangs: {command}")
    if result.returncode == 0:
        return Outcome(KIND, seed, WORKED)
    last = (result.stderr.splitlines() or [""])[-1]
    said = bool(last) or reports
    if result.returncode != 1 or "Traceback" in result.stderr or not said:
        return Outcome(KIND, seed, BUG, f"{command}\n{result.returncode} {result.stderr[-1500:]}")
    return Outcome(KIND, seed, REFUSED, last)
