"""Archives of published corpora become raw text; those here are small and made by the tests."""

import importlib
import io
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))
script = importlib.import_module("get_parallel")
CorpusError = importlib.import_module("corpus_files").CorpusError


def pack(path: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def test_wmt_joins_its_corpora_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {}
    for archive, prefix in (*script.WMT_TRAIN, script.NEWS["wmt16_en_de"]):
        files = {
            f"./{prefix}.de": f"de {prefix}\u2028eins\r\nzwei\n",
            f"{prefix}.en": f"en {prefix}\ntwo\n",
        }
        paths[archive.name] = pack(tmp_path / archive.name, files)
    test_set = {"src": ["a"], "tgt": ["b"]}
    monkeypatch.setattr(script, "from_sacrebleu", lambda name, pair: test_set)
    out = tmp_path / "out"
    out.mkdir()
    counts = script.wmt("wmt16_en_de", out, lambda archive: paths[archive.name])
    assert counts == {"train": 6, "valid": 1, "test": 1, "test1": 1}
    names = [prefix for _, prefix in (*script.WMT_TRAIN, script.NEWS["wmt16_en_de"])]
    assert read(out / "train.src") == [line for name in names for line in (f"en {name}", "two")]
    assert read(out / "train.tgt")[:2] == [f"de {names[0]} eins", "zwei"]
    assert read(out / "test1.tgt") == ["b"]


def iwslt_archive(path: Path, sentences: int) -> Path:
    files = {}
    for language, word in (("de", "Wort"), ("en", "word")):
        talk = [f"<url>x</url> {word}", f"<talkid>1</talkid><title>{word}</title>"]
        talk += [f"<keywords>{word}</keywords>", f"<title>{word} A</title>"]
        talk += [f"<description>TED: {word}</description>", f" {word} & B "]
        files[f"de-en/train.tags.de-en.{language}"] = "\n".join(talk) + "\n"
        for test in script.IWSLT14_TESTS:
            seg = "".join(f'<seg id="{i}"> {word}’s &amp; {i} </seg>\n' for i in range(sentences))
            files[f"de-en/IWSLT14.{test}.de-en.{language}.xml"] = f"<doc>\n{seg}</doc>\n"
    return pack(path, files)


def test_iwslt_leaves_headers_out_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = iwslt_archive(tmp_path / "de-en.tgz", sentences=2)
    monkeypatch.setattr(script, "IWSLT14_LINES", {"train": 3, "test": 10})
    out = tmp_path / "out"
    out.mkdir()
    script.iwslt14("iwslt14_de_en", out, lambda archive: path)
    assert read(out / "train.src") == ["Wort A", "TED: Wort", "Wort & B"]
    assert read(out / "test.tgt") == ["word's & 0", "word's & 1"] * 5
    monkeypatch.setattr(script, "IWSLT14_LINES", {"train": 3, "test": 11})
    with pytest.raises(CorpusError, match="test has 10 pairs instead of 11"):
        script.iwslt14("iwslt14_de_en", out, lambda archive: path)


def test_links_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tgz", {"b": "text\n"}, links={"a": "/etc/passwd", "c": "b"})
    for name in ("a", "c", "d"):
        with tarfile.open(path) as archive, pytest.raises(CorpusError, match=f"no file {name}"):
            list(script.read_member(archive, name))


def test_sides_of_other_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="after 1 pairs one side has no more lines"):
        script.write_split(tmp_path, "train", [{"src": ["a", "b"], "tgt": ["x"]}])


def test_a_test_set_that_cannot_be_had_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = importlib.import_module("sacrebleu.utils")

    def fails(*args: object) -> None:
        raise SystemExit(1)

    monkeypatch.setattr(utils, "get_source_file", fails)
    with pytest.raises(CorpusError, match="sacreBLEU could not supply the test set wmt13"):
        script.from_sacrebleu("wmt13", "en-de")
