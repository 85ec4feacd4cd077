"""The English-German corpus: readers of catalogues, pinned wheels, the script without network.

Compiled catalogues are checked against the ``gettext`` module of the standard library; the whole
script runs on wheels that the test makes and pins.
"""

import gettext
import hashlib
import importlib
import io
import random
import struct
import sys
import zipfile
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
sys.path.insert(0, str(DATA))
catalogues = importlib.import_module("gettext_catalogues")
cleaning = importlib.import_module("pair_cleaning")
script = importlib.import_module("get_software_en_de")
make_toy = importlib.import_module("make_toy")
CorpusError = importlib.import_module("corpus_files").CorpusError

PO = r"""
# German translation
#, fuzzy
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\n"

#: form.py:3
msgid "Save the file"
msgstr "Datei sichern"
#, python-format, fuzzy
msgid "Fuzzy entry here"
msgstr "Falsch"

#| msgid "An older source"
#, c-format
msgctxt "button"
msgid ""
"Two lines\n"
"with a \"quote\", a \\ and a tab\t."
msgstr "Zwei "
"Zeilen"

msgid "%d day"
msgid_plural "%d days"
msgstr[0] "%d Tag"
msgstr[1] "%d Tage"

msgid "Not translated"
msgstr ""
#~ msgid "Obsolete entry"
#~ msgstr "Veraltet"

msgid "Last one"
msgstr "Letzter"
"""
PO_PAIRS = [
    ("Save the file", "Datei sichern"),
    ('Two lines\nwith a "quote", a \\ and a tab\t.', "Zwei Zeilen"),
    ("%d days", "%d Tage"),
    ("Last one", "Letzter"),
]


def compile_mo(entries: dict[str, str], order: str = "<") -> bytes:
    """Return a compiled catalogue: header, two tables of (length, place), the strings."""
    rows = sorted((k.encode(), v.encode()) for k, v in entries.items())
    tables, strings = [b"", b""], b""
    start = 28 + 16 * len(rows)
    for side in (0, 1):
        for row in rows:
            tables[side] += struct.pack(f"{order}2I", len(row[side]), start + len(strings))
            strings += row[side] + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(rows), 28, 28 + 8 * len(rows), 0, 0)
    return head + tables[0] + tables[1] + strings


MO_ENTRIES = {
    "": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n",
    "Save the file": "Datei speichern für später",
    "button\x04Open it": "Öffnen",
    "%d day\0%d days": "%d Tag\0%d Tage",
}


def test_po_gives_finished_entries_only() -> None:
    assert catalogues.read_po(PO) == PO_PAIRS
    assert catalogues.read_po("\ufeff" + PO.replace("\n", "\r\n")) == PO_PAIRS


@pytest.mark.parametrize("line", ["msgfoo 'x'", '"no keyword"', 'msgid "not closed'])
def test_po_names_a_bad_line(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 2 is not of the \.po format"):
        catalogues.read_po(f"# comment\n{line}\n")


@pytest.mark.parametrize("order", ["<", ">"])
def test_mo_agrees_with_the_standard_library(order: str) -> None:
    data = compile_mo(MO_ENTRIES, order)
    truth = gettext.GNUTranslations(io.BytesIO(data))
    assert sorted(catalogues.read_mo(data)) == [
        ("%d days", truth.ngettext("%d day", "%d days", 2)),
        ("Open it", truth.pgettext("button", "Open it")),
        ("Save the file", truth.gettext("Save the file")),
    ]


def test_mo_refuses_other_and_truncated_data() -> None:
    data = compile_mo(MO_ENTRIES)
    with pytest.raises(ValueError, match=r"not a \.mo file"):
        catalogues.read_mo(b"PK\x03\x04 something else")
    for length in (10, 40, len(data) - 5):
        with pytest.raises(ValueError, match="damaged"):
            catalogues.read_mo(data[:length])


def test_every_requirement_is_pinned() -> None:
    text = script.REQUIREMENTS.read_text(encoding="utf-8")
    pins = script.read_pins(text)
    assert len(pins) == text.count("==") == text.count("--hash=sha256:") >= 9
    assert all(len(bytes.fromhex(digest)) == 32 for digest in pins.values())
    assert len(set(pins.values())) == len(pins)


@pytest.mark.parametrize("line", ["wagtail==8.0", "wagtail>=8 --hash=sha256:" + "0" * 64, "-r x"])
def test_an_unpinned_requirement_is_refused(line: str) -> None:
    with pytest.raises(CorpusError, match="is not pinned"):
        script.read_pins(f"# wheels\n{line}\n")


def write_wheel(path: Path, members: dict[str, str | bytes]) -> str:
    """Write a zip archive and return its SHA-256."""
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in members.items():
            wheel.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of two small wheels, which the script is told to want; pip finds no index."""
    cache = tmp_path / "cache"
    cache.mkdir()
    rows = make_toy.draw({"train": 2300, "valid": 1, "test": 1}, 1, running=False)["train"]
    po = "".join(f'msgid "{source}"\nmsgstr "{target}"\n\n' for source, target in rows)
    one = {
        "one-1.0.dist-info/METADATA": "Name: one\nLicense-Expression: MIT\n\nText\n",
        "one/locale/de/LC_MESSAGES/django.po": po,
        "one/locale/de/LC_MESSAGES/django.mo": compile_mo({"Only in the mo": "Nur in der mo"}),
        "one/locale/fr/LC_MESSAGES/django.po": 'msgid "A French entry"\nmsgstr "Une entrée"\n',
    }
    two = {
        "two-2.0.dist-info/METADATA": "Name: two\nClassifier: License :: OSI Approved :: BSD\n\n",
        "two/locale/de_DE/LC_MESSAGES/two.mo": compile_mo({"From the second": "Aus dem zweiten"}),
    }
    digests = [write_wheel(cache / f"{n}.whl", m) for n, m in (("one", one), ("two", two))]
    pins = tmp_path / "pins.txt"
    names = ("one==1.0", "two==2.0")
    lines = [f"{name} --hash=sha256:{d}\n" for name, d in zip(names, digests, strict=True)]
    pins.write_text("".join(lines))
    monkeypatch.setattr(script, "REQUIREMENTS", pins)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return cache


def test_the_script_makes_the_corpus_of_cached_wheels(pinned: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["--out", str(out), "--cache", str(pinned)]
    report = script.main(command)
    assert "one==1.0" in report and "MIT" in report and "BSD" in report
    text = {name: (out / name).read_text(encoding="utf-8").splitlines() for name in script.NAMES}
    assert [len(text[f"{s}.src"]) for s in ("valid", "test")] == [1000, 1000]
    assert all(len(text[f"{s}.src"]) == len(text[f"{s}.tgt"]) for s in ("train", "valid", "test"))
    for side in ("src", "tgt"):
        lines = [line for s in ("train", "valid", "test") for line in text[f"{s}.{side}"]]
        assert len({cleaning.key(line) for line in lines}) == len(lines)
    everything = {line for lines in text.values() for line in lines}
    assert "From the second" in everything
    assert not everything & {"Only in the mo", "A French entry"}
    assert "nothing to do" in script.main(command)
    script.REQUIREMENTS.write_text(f"one==1.1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(CorpusError, match="made from other versions"):
        script.main(command)


def test_a_wheel_that_was_changed_is_refused(pinned: Path, tmp_path: Path) -> None:
    wheel = bytearray((pinned / "one.whl").read_bytes())
    wheel[random.Random(1).randrange(len(wheel))] ^= 1
    (pinned / "one.whl").write_bytes(wheel)
    with pytest.raises(CorpusError, match="pip could not fetch the wheels") as failure:
        script.main(["--out", str(tmp_path / "out"), "--cache", str(pinned)])
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "out").exists()
