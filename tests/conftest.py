"""Fixtures shared by all tests; ``toys.py`` says what they hold."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fairseq_bas
from tests.toys import Toy, make_pieces, make_toy

fairseq_bas.register()  # whichever test file imports the package first, before fairseq or after


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A binarised toy translation corpus en-de; read it, do not write in it."""
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_pieces(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The toy corpus in subwords, ``text/spm.model`` beside it; read it, do not write in it."""
    return make_pieces(tmp_path_factory.mktemp("toy_pieces"))


@pytest.fixture(scope="session")
def toy_lm(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A binarised toy corpus for language models; read it, do not write in it."""
    return make_toy(tmp_path_factory.mktemp("toy_lm"), only_source=True)
