"""The script that segments a corpus: the dictionary that it writes serves to sample anew."""

import subprocess
import sys
from collections import Counter

import pytest

from fairseq_bas.noise.subword import SubwordSampler
from tests.subword_models import ROOT, SPECIAL, UNKNOWN, stored, toy_lines


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_the_data_script_writes_a_dictionary_of_the_whole_model(tmp_path, kind):
    lines = toy_lines()[:600]
    for name, part in (
        ("train", slice(500)),
        ("valid", slice(500, 550)),
        ("test", slice(550, 600)),
    ):
        for side, offset in (("src", 0), ("tgt", 1)):
            text = "".join(f"{line}\n" for line in lines[part][offset::2])
            (tmp_path / f"{name}.{side}").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, ROOT / "data" / "subword.py", "--corpus", tmp_path, "--out", out]
    subprocess.run([*map(str, command), "--vocab", "120", "--type", kind], check=True)
    rows = [line.split(" ") for line in (out / "dict.txt").read_text("utf-8").splitlines()]
    train_text = "".join((out / f"train.{side}").read_text("utf-8") for side in ("src", "tgt"))
    counts = Counter(train_text.split())
    assert {piece: int(count) for piece, count in rows} == {
        piece: max(1, counts[piece]) for piece, _ in rows
    }
    assert any(count == "1" and piece not in counts for piece, count in rows)
    assert [int(count) for _, count in rows] == sorted((int(c) for _, c in rows), reverse=True)
    sampler = SubwordSampler(out / "spm.model", [*SPECIAL, *(piece for piece, _ in rows)], 0.2)
    assert sampler.model.kind == kind
    ids = stored(sampler, lines[0])
    assert UNKNOWN not in ids and not sampler.sample(ids, [1], distinct=True, taken=[ids])[0].equal(
        ids
    )
