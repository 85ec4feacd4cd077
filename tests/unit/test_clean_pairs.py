"""What cleaning keeps and what it holds out, on cases worked by hand and by their properties."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))
cleaning = importlib.import_module("clean_pairs")
text_cleaning = importlib.import_module("clean_text")
CorpusError = importlib.import_module("corpus_files").CorpusError
key = importlib.import_module("pair_cleaning").key


def write(folder: Path, split: str, pairs: list[tuple[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    for index, side in enumerate(("src", "tgt")):
        text = "".join(f"{pair[index]}\n" for pair in pairs)
        (folder / f"{split}.{side}").write_text(text, encoding="utf-8", newline="\n")


def read(folder: Path, split: str) -> list[tuple[str, str]]:
    return list(cleaning.read_pairs(folder, split))


def test_rules_duplicates_and_what_is_held_out(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    kept = [("a  b c", "x y z"), ("Fünf\u00ad zig", "fifty one"), ("a b c", "other words here")]
    gone = [
        ("", "x"),
        ("a b c d", "x y"),  # 2 to 1
        ("w " * 6, "v " * 6),  # more than five words
        ("a b c", "x\ty\u2028z"),  # the first pair again
        ("The End!", "das eine"),  # its source is in test
        ("an end", "VALIDE, zwei"),  # its target is in valid
        ("... 1", "eins null"),  # the same without letters as in test
    ]
    write(raw, "train", kept + gone)
    write(raw, "valid", [("something", "valide zwei")])
    write(raw, "test", [("the end", "Das  Ende "), ("... 1", "Punkt")])
    counts = cleaning.clean(raw, out, cleaning.Rules(max_words=5, max_ratio=1.9))
    assert counts == {"raw": 10, "train": 3, "valid": 1, "test": 2}
    assert read(out, "train") == [("a b c", "x y z"), ("Fünf zig", "fifty one"), kept[2]]
    assert read(out, "test") == [("the end", "Das  Ende "), ("... 1", "Punkt")]


def test_splits_are_taken_from_the_text_the_same_way_everywhere(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    pairs = [(f"Satz {'x' * (i % 50 + 1)} y{'z' * (i // 50)}", f"t {'u' * i}") for i in range(1000)]
    write(raw, "train", pairs + [(s.upper(), f"{t} v") for s, t in pairs])
    rules = cleaning.Rules(max_ratio=1e9, by_letters=True)
    for name in "ab":
        counts = cleaning.clean(raw, tmp_path / name, rules)
    assert all(
        read(tmp_path / "a", split) == read(tmp_path / "b", split)
        for split in ("train", "valid", "test")
    )
    assert counts["test"] == 100 and 90 <= counts["valid"] <= 100
    splits = {s: read(tmp_path / "a", s) for s in ("train", "valid", "test")}
    for one, other in [("train", "valid"), ("train", "test"), ("valid", "test")]:
        for side in (0, 1):
            keys = [{key(pair[side]) for pair in splits[split]} for split in (one, other)]
            assert not keys[0] & keys[1]


def test_every_so_many_pairs_are_valid_and_a_test_set_stays_as_it_is(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    words = ["".join(chr(97 + int(d)) for d in str(i)) for i in range(46)]
    write(raw, "train", [(f"Quelle {w}", f"Ziel {w}") for w in words])
    write(raw, "test", [("Anderes", "ÜBRIGES")])
    write(raw, "test1", [("Drittes", "WEITERES")])
    cleaning.clean(raw, out, cleaning.Rules(lower=True), valid_every=23)
    assert read(out, "valid") == [(f"quelle {w}", f"ziel {w}") for w in (words[22], words[45])]
    assert len(read(out, "train")) == 44
    assert read(out, "test") == [("anderes", "ÜBRIGES")]
    assert read(out, "test1") == [("drittes", "WEITERES")]


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (b"a\nb\n", b"x\n", "train.src has more lines than the other side, from line 2"),
        (b"a\n\xff\n", b"x\ny\n", "line 2 of"),
        (b"a\n", b"x\n", "1 good pairs are too few"),
    ],
)
def test_bad_text_is_refused(source: bytes, target: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "train.src").write_bytes(source)
    (tmp_path / "train.tgt").write_bytes(target)
    with pytest.raises(CorpusError, match=says):
        cleaning.clean(tmp_path, tmp_path / "out", cleaning.Rules())


def test_a_running_text_keeps_its_order_and_its_end_is_held_out(tmp_path: Path) -> None:
    lines = [f"line {chr(97 + i)}" for i in range(20)] + ["", "  line\u00ad  x  ", "Line y."]
    lines[3] = "LINE Y"  # which is held out
    (tmp_path / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    texts = text_cleaning.clean(tmp_path, lower=False)
    assert texts["test"] == ["Line y."] and texts["valid"] == ["line x"]
    assert texts["train"] == [line for line in lines[:20] if line != "LINE Y"]
