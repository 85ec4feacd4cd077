"""Cases of files: binarised data, dictionaries, texts to score, logs of runs."""

import copy
import functools
import io
import random
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fairseq_bas

# isort: split
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fuzz_mutations import mutate_bytes
from fuzz_outcome import Wrong
from omegaconf import open_dict

from fairseq_bas import cli
from fairseq_bas.tool.check_data import check_data
from fairseq_bas.tool.run_log import read_run_log

fairseq_bas.register()


@dataclass(frozen=True)
class Material:
    """Hold correct files to damage, and a folder to do it in.

    Attributes:
        translation: a data directory en-de.
        text: a data directory of a text alone.
        checkpoint: a translation model trained on it.
        hypotheses: what it wrote, a log of ``fairseq-generate``.
        reference: the reference.
        log: of its training.
        work: where cases put their files.
    """

    translation: Path
    text: Path
    checkpoint: Path
    hypotheses: Path
    reference: Path
    log: Path
    work: Path


def damage(source: Path, target: Path, generator: random.Random, head: int = 64) -> Path:
    """Write a damaged copy of a file."""
    target.write_bytes(mutate_bytes(source.read_bytes(), generator, head))
    return target


# -- data -----------------------------------------------------------------------------------------


def data_case(material: Material, kind: str, seed: int) -> Callable[[], None]:
    """Return a case in which a file of a data directory is damaged, and sometimes another.

    Args:
        material: the correct files.
        kind: ``translation`` or ``text``.
        seed: of the damage.
    """
    generator = random.Random(f"{kind} {seed}")
    folder = getattr(material, kind)
    changed = material.work / f"{kind}{seed % 8}"
    shutil.rmtree(changed, ignore_errors=True)
    shutil.copytree(folder, changed)
    names = sorted(path.name for path in folder.iterdir() if "test" not in path.name)
    names = [name for name in names if name.endswith((".idx", ".bin", ".txt"))]
    for _ in range(generator.choice((1, 1, 1, 2))):
        name = generator.choice(names)
        if generator.random() < 0.1:
            other = generator.choice(names)
            shutil.copy(folder / other, changed / name)
        elif generator.random() < 0.05:
            (changed / name).unlink(missing_ok=True)
        elif (changed / name).exists():
            damage(changed / name, changed / name, generator)
    return lambda: _read_data(changed, kind)


def _read_data(folder: Path, kind: str) -> None:
    """Check a folder and read all of it as training does; what the check passes must be read."""
    section, _ = check_data(str(folder))
    task = tasks.setup_task(_task_config(folder, kind))
    for split in ("train", "valid"):
        task.load_dataset(split)
        dataset = task.dataset(split)
        if kind == "text":
            size = len(task.dictionary)
            if not (dataset.tokens.min() >= 0 and dataset.tokens.max() < size):
                raise Wrong("a token that the dictionary does not have")
            continue
        batch = dataset.collater([dataset[index] for index in range(len(dataset))])
        for tokens, dictionary in (
            (batch["net_input"]["src_tokens"], task.source_dictionary),
            (batch["target"], task.target_dictionary),
        ):
            if not (int(tokens.min()) >= 0 and int(tokens.max()) < len(dictionary)):
                raise Wrong("a token that the dictionary does not have")
    if any(f.level == "problem" for f in section.findings if "test" not in f.sentence):
        raise Wrong(f"only the check refuses it: {section.findings}")


@functools.cache
def _parsed(kind: str) -> Any:
    """Return the flags of a task; fairseq takes half a second to read them."""
    model = ["--arch", "lstm", "--max-tokens", "100"]
    tokens = ["--arch", "lstm_lm", "--batch-size", "2", "--tokens-per-sample", "8"]
    names = {"translation": "bas_translation", "text": "bas_language_modeling"}
    flags = ["DATA", "--task", names[kind], *(tokens if kind == "text" else model)]
    parser = options.get_training_parser()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, flags)).task


def _task_config(folder: Path, kind: str) -> Any:
    cfg = copy.deepcopy(_parsed(kind))
    with open_dict(cfg):
        cfg.data = str(folder)
    return cfg


# -- texts and logs -------------------------------------------------------------------------------


def score_case(material: Material, seed: int) -> Callable[[], None]:
    """Return a case of a damaged hypothesis or reference, with reports to write."""
    generator = random.Random(f"score {seed}")
    hypotheses, reference = material.work / "hypotheses.txt", material.work / "reference.txt"
    shutil.copy(material.hypotheses, hypotheses)
    shutil.copy(material.reference, reference)
    victim = generator.choice((hypotheses, hypotheses, reference))
    damage(victim, victim, generator)
    report = material.work / "score.json"
    report.write_text("old")
    command = ["score", hypotheses, "--ref", reference, "--json", report, "--trials", 3]
    return lambda: _run_score([str(word) for word in command], report)


def _run_score(command: list[str], report: Path) -> None:
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        code = cli.main(command)
    content = report.read_text()
    whole = content.startswith("{") and content.endswith("}\n")
    if (code == 0) != whole or (code == 1 and content != "old"):
        raise Wrong(f"exit code {code} and a report {content[:40]!r}")
    if code == 1:
        if errors.getvalue().count("\n") != 1:
            raise Wrong(f"not one line: {errors.getvalue()}")
        raise ValueError(errors.getvalue())


def log_case(material: Material, seed: int) -> Callable[[], None]:
    """Return a case of a damaged log of training."""
    generator = random.Random(f"log {seed}")
    path = damage(material.log, material.work / "train.log", generator, head=2000)
    return lambda: read_run_log(str(path)) and None
