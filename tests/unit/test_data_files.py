"""A corpus folder appears whole or not at all, and nothing of the user is replaced."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))
corpus_files = importlib.import_module("corpus_files")

FILES = {"train.txt": ["a b", "ç"], "test.txt": []}


def test_publish_writes_lines_and_readme(tmp_path: Path) -> None:
    out = tmp_path / "new" / "corpus"
    assert str(out) in corpus_files.publish(out, FILES, "what it is")
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    assert written == {
        "train.txt": "a b\nç\n".encode(),
        "test.txt": b"",
        "README.txt": b"what it is\n",
    }
    assert [path.name for path in out.parent.iterdir()] == ["corpus"]


def test_the_same_corpus_is_left_alone_and_another_one_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    corpus_files.publish(out, FILES, "seed 1")
    before = (out / "train.txt").stat().st_mtime_ns
    assert "nothing to do" in corpus_files.publish(out, FILES, "seed 1")
    with pytest.raises(corpus_files.CorpusError, match="other settings"):
        corpus_files.publish(out, {**FILES, "train.txt": ["c"]}, "seed 2")
    assert (out / "train.txt").stat().st_mtime_ns == before


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(corpus_files.CorpusError, match="holds other files"):
        corpus_files.publish(tmp_path, FILES, "x")
    with pytest.raises(corpus_files.CorpusError, match="is a file"):
        corpus_files.publish(tmp_path / "thesis.tex", FILES, "x")
    with pytest.raises(corpus_files.CorpusError, match="cannot write"):
        corpus_files.publish(tmp_path / "thesis.tex" / "corpus", FILES, "x")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted:
        def __iter__(self) -> Iterator[str]:
            yield "first line"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus_files.publish(tmp_path / "corpus", {"a": ["x"], "b": Interrupted()}, "x")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    corpus_files.publish(tmp_path, FILES, "x")
    assert (tmp_path / "README.txt").exists()
