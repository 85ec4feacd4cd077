"""Versions of what a run stands on, and the pairs of them that are known to fail."""

import re
from collections.abc import Iterator, Mapping

from .check_findings import Finding, note, problem, warning

LEAST_PYTHON, LEAST_TORCH, LEAST_SACREBLEU = (3, 11), (2, 6), (2, 3)
FIRST_HYDRA_TOO_NEW = (1, 4)
SAFE_LOADER_MENDED = (2, 10)
INSTALL_FAIRSEQ = 'run pip install "ve-fairseq==0.12.3" "hydra-core>=1.3.2,<1.4"'
BUILDS = ("fairseq", "ve-fairseq", "fairseq-fixed")
"""Distributions that bring the module ``fairseq``; the first is the official one, of 2022."""

NEEDED = ("numpy", "sentencepiece", "sacrebleu", "scipy", "scikit-learn", "hydra-core", "omegaconf")
LIBRARIES = ("torch", *NEEDED)


def release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, to be compared.

    >>> release("2.13.0+cpu") >= (2, 6), release("1.4.0rc1")
    (True, (1, 4, 0))
    """
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def version_findings(
    versions: Mapping[str, str | None], builds: Mapping[str, str]
) -> list[Finding]:
    """Judge what is installed.

    Args:
        versions: of ``python`` and of ``LIBRARIES``; None for what is not installed.
        builds: of the installed ``BUILDS``.

    Returns:
        Problems, warnings and notes.

    >>> [finding.level for finding in version_findings({"python": "3.10.1"}, {"fairseq": "0.12.2"})]
    ['problem', 'problem']
    """
    known = {name: release(version) for name, version in versions.items() if version}
    rules = (_python, _missing, _torch, _official_build, _builds, _hydra, _numpy, _sacrebleu)
    missing = [name for name, version in versions.items() if version is None]
    text = {name: version or "" for name, version in versions.items()}
    return [f for rule in rules for f in rule(known, text, missing, builds)]


Known = Mapping[str, tuple[int, ...]]
Text = Mapping[str, str]
Found = Iterator[Finding]


def _python(known: Known, text: Text, missing: list[str], builds: Text) -> Found:
    if known.get("python", LEAST_PYTHON) < LEAST_PYTHON:
        yield problem(
            f"Python {text['python']} is older than 3.11, which fairseq_bas needs; make an "
            "environment with Python 3.11 or 3.12"
        )


def _missing(known: Known, text: Text, missing: list[str], builds: Text) -> Found:
    if not builds:
        yield problem(f"fairseq is not installed; {INSTALL_FAIRSEQ}")
    for name in missing:
        yield problem(f"{name} is not installed; run pip install {name}")


def _torch(known: Known, text: Text, missing: list[str], builds: Text) -> Found:
    torch = known.get("torch")
    if not torch:
        return
    if torch < LEAST_TORCH:
        yield problem(
            f"torch {text['torch']} is older than 2.6, whose safe loading of checkpoints "
            "fairseq_bas builds on; install torch 2.10 or newer"
        )
        return
    if torch < SAFE_LOADER_MENDED:
        yield warning(
            f"the safe loader of torch {text['torch']} can be broken by a checkpoint made for it "
            "(CVE-2026-24747, mended in torch 2.10); update torch, or load only checkpoints of "
            "your own"
        )
    if builds:
        yield note(
            "fairseq as published cannot load its own checkpoints on torch 2.6 and newer; with "
            "--user-dir fairseq_bas it can, and damaged or unsafe ones are refused"
        )


def _official_build(known: Known, text: Text, missing: list[str], builds: Text) -> Found:
    old = builds.get("fairseq")
    if old and release(old) <= (0, 12, 2):
        yield problem(
            f"the official fairseq {old} does not import on Python 3.11 and newer (mutable "
            f"defaults in dataclasses); run pip uninstall fairseq, and {INSTALL_FAIRSEQ}"
        )


def _builds(known: Known, text: Text, missing: list[str], builds: Text) -> Found:
    if len(builds) > 1:
        names = " and ".join(f"{name} {version}" for name, version in builds.items())
        yield warning(
            f"{names} are installed over each other, so files of both are mixed; uninstall all of "
            f"them, and {INSTALL_FAIRSEQ}"
        )


def _hydra(known: Known, text: Text, missing: list[str], builds: Text) -> Found:
    if known.get("hydra-core", (1, 3)) >= FIRST_HYDRA_TOO_NEW:
        yield problem(
            f"hydra-core {text['hydra-core']} no longer starts commands as fairseq declares them; "
            'run pip install "hydra-core>=1.3.2,<1.4"'
        )
    if known.get("omegaconf", (2, 1)) < (2, 1):
        yield problem(
            f"omegaconf {text['omegaconf']} is older than hydra-core 1.3 allows; run pip install "
            '"omegaconf>=2.1"'
        )


def _numpy(known: Known, text: Text, missing: list[str], builds: Text) -> Found:
    if known.get("numpy", (1,)) >= (2,) and builds:
        yield note(
            f"with NumPy {text['numpy']}, fairseq-preprocess --workers above 1 writes wrong "
            "offsets for data of more than 2 GiB a file, which the check of the data finds; "
            "binarise such data with --workers 1, or with NumPy 1"
        )


def _sacrebleu(known: Known, text: Text, missing: list[str], builds: Text) -> Found:
    if known.get("sacrebleu", LEAST_SACREBLEU) < LEAST_SACREBLEU:
        yield problem(
            f'sacrebleu {text["sacrebleu"]} has no paired tests; run pip install "sacrebleu>=2.3"'
        )
