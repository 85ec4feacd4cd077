"""Cleaning of English-German pairs and their split, on cases worked by hand."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))
cleaning = importlib.import_module("pair_cleaning")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<p>Hello <b>World</b>!</p>", "Hello World!"),
        ("&File and _Edit&nbsp;&amp; Q&A", "File and _Edit & Q&A"),
        ("Datei (&D) sichern", "Datei sichern"),
        ("  two\n lines\t\u00a0here ", "two lines here"),
        ("u\u0308ber Soft\u00adware", "über Software"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
    ],
)
def test_clean(raw: str, clean: str) -> None:
    assert cleaning.clean(raw) == clean


@pytest.mark.parametrize(
    ("source", "target", "good"),
    [
        ("Ticket shop settings", "Shopeinstellungen", True),
        ("Save file", "Datei sichern", False),  # two words
        ("Django CMS plugins", "django cms PLUGINS", False),  # not translated
        ("word " * 61, "Wort " * 60, False),
        ("word " * 60, "Wort " * 60, True),
        ("See https://a.org/b foo_bar x=1", "Siehe https://a.org/b foo_bar x=1", False),
        ("X1 X2 of X3", "X1 X2 von X3", False),  # mostly placeholders
        ("Go to it", "Wechseln Sie zum Element", False),  # 6 letters against 21
        ("Click X1hereX2 to save it", "Zum Sichern X1hier klickenX2", False),  # markup
    ],
)
def test_is_good(source: str, target: str, good: bool) -> None:
    assert cleaning.is_good(source, target) is good


def test_placeholders_get_the_number_of_the_source() -> None:
    source = "%(user)s sent {n} of %d to {{ mail }}, {n} (100%)"
    target = "{{ mail }} bekam {n} von %d, {n} von %(user)s (100 %), %(x)s"
    assert cleaning.number_placeholders(source, target) == (
        "X1 sent X2 of X3 to X4, X5 (100%)",
        "X4 bekam X2 von X3, X5 von X1 (100 %), X6",
    )


def test_near_duplicates_are_dropped_over_all_catalogues() -> None:
    pairs = cleaning.distinct_pairs(
        {
            "one": [
                ("Delete the order %(code)s?", "Die Bestellung löschen?"),
                ("Keep the order, please", "Die Bestellung bitte behalten"),
            ],
            "two": [
                ("<b>delete</b> the order!", "Auftrag jetzt löschen"),  # the source again
                ("Please keep this order", "die Bestellung bitte behalten!"),  # the target again
                ("Change the order", "Die Bestellung ändern"),
            ],
        }
    )
    assert pairs == {
        "one": [
            ("Delete the order X1?", "Die Bestellung löschen?"),
            ("Keep the order, please", "Die Bestellung bitte behalten"),
        ],
        "two": [("Change the order", "Die Bestellung ändern")],
    }


def test_split_holds_out_whole_runs_of_the_asked_size() -> None:
    corpus = {name: [(f"{name}{i}", str(i)) for i in range(n)] for name, n in (("a", 95), ("b", 7))}
    splits = cleaning.split(corpus, valid=22, test=20, block=10)
    assert splits == cleaning.split(corpus, valid=22, test=20, block=10)
    assert len(splits["valid"]) == 22 and len(splits["test"]) == 20
    rows = [row for split in splits.values() for row in split]
    assert len(set(rows)) == len(rows)
    assert {pair for _, pair in rows} <= {pair for pairs in corpus.values() for pair in pairs}
    assert len(rows) > 102 - 20  # what is cut off the last runs is less than two runs
    runs = {
        split: {(name, int(pair[1]) // 10) for name, pair in rows} for split, rows in splits.items()
    }
    assert not runs["test"] & runs["valid"]
    assert not runs["train"] & (runs["test"] | runs["valid"])
    with pytest.raises(ValueError, match="102 pairs are too few"):
        cleaning.split(corpus, valid=52, test=50, block=10)
