"""Package metadata of fairseq_bas."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"', (HERE / "fairseq_bas/version.py").read_text(), re.MULTILINE
).group(1)

setup(
    name="fairseq-bas",
    version=VERSION,
    description="Batch Augmentation and Schedules for fairseq: a user-dir plugin for fairseq-train",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["fairseq_bas", "fairseq_bas.*"]),
    install_requires=[
        "torch>=2.6",  # safe loading of checkpoints by default, and a list of what it refuses
        "numpy",
        "sentencepiece",
        "sacrebleu>=2.3",  # paired significance tests
        "scipy",  # L-BFGS-B and eigsh of the diagnostics
        "scikit-learn",  # Gaussian processes of AutoWU
    ],
    extras_require={
        # Not a base requirement: people bring ve-fairseq, fairseq-fixed or fairseq main, and pip
        # must not replace theirs. fairseq's @hydra.main predates hydra 1.4.
        "fairseq": ["ve-fairseq==0.12.3", "hydra-core>=1.3.2,<1.4"],
        "plot": ["matplotlib"],
        "optimizers": ["pytorch_optimizer>=4"],
        "dev": ["pytest", "pytest-xdist", "ruff", "mypy", "pytorch_optimizer>=4"],
    },
    entry_points={"console_scripts": ["fairseq-bas = fairseq_bas.cli:main"]},
)
