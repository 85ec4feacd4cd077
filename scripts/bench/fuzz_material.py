"""Correct files to damage: a toy corpus, a model trained on it for two epochs, what it wrote."""

import subprocess
import sys
from pathlib import Path

from fuzz_files import Material

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
MODEL = (
    *("--arch", "lstm", "--encoder-embed-dim", "8", "--encoder-hidden-size", "8"),
    *("--decoder-embed-dim", "8", "--decoder-hidden-size", "8", "--decoder-out-embed-dim", "8"),
)
TRAIN = (
    *("--cpu", "--user-dir", str(ROOT / "fairseq_bas"), "--optimizer", "adam", "--lr", "0.01"),
    *("--max-tokens", "200", "--max-epoch", "2", "--log-format", "json", "--log-interval", "1"),
    *("--num-workers", "0", "--required-batch-size-multiple", "1"),
)


def make_material(folder: Path) -> Material:
    """Make everything under a folder, by fairseq's own commands.

    Args:
        folder: to create.
    """
    text, work = folder / "words", folder / "work"
    for path in (text, work):
        path.mkdir(parents=True)
    for split, count in (("train", 30), ("valid", 8), ("test", 8)):
        for side, shift in (("en", 0), ("de", 3)):
            lines = [
                " ".join(NUMBERS[(i * 7 + k * k + shift) % 10] for k in range(2 + i % 6))
                for i in range(count)
            ]
            (text / f"{split}.{side}").write_text("\n".join(lines) + "\n")
    prefixes = [f"--{split}pref" for split in ("train", "valid", "test")]
    translation, alone = folder / "translation", folder / "text"
    both = [word for flag in prefixes for word in (flag, str(text / flag[2:-4]))]
    one = [word for flag in prefixes for word in (flag, f"{text / flag[2:-4]}.en")]
    run("preprocess", "-s", "en", "-t", "de", *both, "--destdir", str(translation))
    run("preprocess", "--only-source", *one, "--destdir", str(alone))
    flags = (str(translation), "--task", "bas_translation", *MODEL, *TRAIN)
    log = run("train", *flags, "--save-dir", str(folder / "model"))
    checkpoint = folder / "model" / "checkpoint_last.pt"
    written = run(
        *("generate", str(translation), "--path", str(checkpoint), "--beam", "1", "--cpu"),
        *("--user-dir", str(ROOT / "fairseq_bas"), "--required-batch-size-multiple", "1"),
    )
    (folder / "generate.log").write_text(written)
    (folder / "train.log").write_text(log)
    return Material(
        translation,
        alone,
        checkpoint,
        folder / "generate.log",
        text / "test.de",
        folder / "train.log",
        work,
    )


def run(command: str, *arguments: str) -> str:
    """Run a command of fairseq and return what it printed.

    Raises:
        RuntimeError: if it fails.
    """
    result = subprocess.run(
        [sys.executable, "-m", f"fairseq_cli.{command}", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if result.returncode != 0:
        raise RuntimeError(f"fairseq_cli.{command} failed: {result.stderr[-2000:]}")
    return result.stdout
