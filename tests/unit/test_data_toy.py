"""The toy corpus: its sizes and splits, and its grammar checked by a parser of the test's own."""

import importlib
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))
make_toy = importlib.import_module("make_toy")
toy_grammar = importlib.import_module("toy_grammar")
CorpusError = importlib.import_module("corpus_files").CorpusError

SIZES = {"train": 600, "valid": 50, "test": 70}

ENGLISH_ADJECTIVES = {"small", "big", "red", "young", "quiet", "brave", "tired", "green"}
ENGLISH_ADVERBS = {"often", "quietly", "today", "slowly"}
ENGLISH_PAST = {
    *("saw", "found", "followed", "helped", "knew"),
    *("heard", "carried", "watched", "called", "drew"),
}
IRREGULAR_PLURALS = {"mice", "children", "women", "men"}
ARTICLES = {
    *(("t", False, "the"), ("en", False, "a"), ("dis", False, "this")),
    *(("t", True, "the"), ("pol", True, "many"), ("dis", True, "these")),
}
ADVERBS = {"sepe", "lene", "hodi", "lante"}


def parse_source(tokens: list[str]) -> tuple:
    """Return ((thing, verb, thing, has adverb), tokens left) of an English sentence."""
    subject, tokens = parse_source_thing(tokens)
    verb, tokens = parse_source_verb(tokens, subject)
    thing, tokens = parse_source_thing(tokens)
    adverb = tokens[0] in ENGLISH_ADVERBS
    assert tokens[adverb:] == ["."]
    return subject, verb, thing, adverb


def parse_source_thing(tokens: list[str]) -> tuple:
    """A thing is (plural, noun, (article, has adjective), relative clause or None)."""
    adjective = tokens[1] in ENGLISH_ADJECTIVES
    article, noun, rest = tokens[0], tokens[1 + adjective], tokens[2 + adjective :]
    plural = noun in IRREGULAR_PLURALS or noun.endswith("s")
    assert article in ({"the", "many", "these"} if plural else {"the", "a", "this"})
    relative = None
    if rest[0] == "that":
        verb, rest = parse_source_verb(rest[1:], (plural,))
        thing, rest = parse_source_thing(rest)
        relative = (verb, thing)
    return (plural, noun, (article, adjective), relative), rest


def parse_source_verb(tokens: list[str], subject: tuple) -> tuple[str, list[str]]:
    past = tokens[0] in ENGLISH_PAST
    assert past or tokens[0].endswith("s") != subject[0]  # "sees" is singular, "see" plural
    return ("past" if past else "now"), tokens[1:]


def parse_target(tokens: list[str]) -> tuple:
    subject, tokens = parse_target_thing(tokens)
    adverb = tokens[0] in ADVERBS
    verb, tokens = parse_target_verb(tokens[adverb:], subject)
    thing, tokens = parse_target_thing(tokens)
    assert tokens == ["."]
    return subject, verb, thing, adverb


def parse_target_thing(tokens: list[str]) -> tuple:
    """As in the source, with (noun, gender) for the noun; all that agrees must agree."""
    ending = tokens[0][-1]
    plural, gender = ending in "ie", "m" if ending in "oi" else "f"
    (article,) = [
        e for stem, number, e in ARTICLES if (stem + ending, number) == (tokens[0], plural)
    ]
    noun, rest = tokens[1], tokens[2:]
    if plural:
        assert noun.endswith("n")
        noun = noun[:-1]
    adjective = is_target_adjective(rest[0])
    if adjective:
        assert rest[0][-1] == ending
        rest = rest[1:]
    relative = None
    if rest[0].startswith("ke"):
        assert rest[0] == "ke" + ending
        thing, rest = parse_target_thing(rest[1:])
        verb, rest = parse_target_verb(rest, (plural,))
        relative = (verb, thing)
    return (plural, (noun, gender), (article, adjective), relative), rest


def is_target_adjective(token: str) -> bool:
    return token[-1] in "oiae" and token not in ADVERBS and not token.startswith("ke")


def parse_target_verb(tokens: list[str], subject: tuple) -> tuple[str, list[str]]:
    tense, plural = {"as": ("now", 0), "an": ("now", 1), "is": ("past", 0), "in": ("past", 1)}[
        tokens[0][-2:]
    ]
    assert plural == subject[0]
    return tense, tokens[1:]


def nouns(sentence: tuple) -> list:
    """Return the nouns of a parsed sentence with their number, in one order for both languages."""
    found = []

    def visit(thing: tuple) -> None:
        found.append((thing[0], thing[1]))
        if thing[3]:
            visit(thing[3][1])

    visit(sentence[0])
    visit(sentence[2])
    return found


def without_nouns(parsed: object) -> object:
    """Return a parse in which every noun is replaced by None."""
    if not isinstance(parsed, tuple):
        return parsed
    if len(parsed) == 4 and isinstance(parsed[0], bool):
        return (parsed[0], None, parsed[2], without_nouns(parsed[3]))
    return tuple(without_nouns(part) for part in parsed)


def test_both_sides_parse_to_the_same_meaning_and_agree() -> None:
    pairs = [pair for split in make_toy.draw(SIZES, 1, running=False).values() for pair in split]
    dictionary: dict[object, set] = {}
    for source, target in pairs:
        english, other = parse_source(source.split()), parse_target(target.split())
        assert without_nouns(english) == without_nouns(other), (source, target)
        for word, translation in zip(nouns(english), nouns(other), strict=True):
            dictionary.setdefault(word, set()).add(translation)
    # Each noun has one translation of one gender in either number, and no two share it.
    assert len(dictionary) == 32
    assert all(len(translations) == 1 for translations in dictionary.values())
    stems = {translation for ((_, translation),) in dictionary.values()}
    assert len(stems) == len({stem for stem, _ in stems}) == 16


def test_copying_gives_nothing_but_the_full_stop() -> None:
    pairs = make_toy.draw(SIZES, 1, running=False)["train"]
    words = [{word for pair in pairs for word in pair[side].split()} for side in (0, 1)]
    assert words[0] & words[1] == {"."}


def test_sizes_are_met_and_no_sentence_occurs_twice() -> None:
    splits = make_toy.draw(SIZES, 3, running=False)
    assert {split: len(rows) for split, rows in splits.items()} == SIZES
    for side in (0, 1):
        sentences = [pair[side] for rows in splits.values() for pair in rows]
        assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize("kind", ["parallel", "lm"])
def test_the_seed_decides_and_held_out_text_does_not_depend_on_train(kind: str) -> None:
    files = make_toy.corpus(kind, SIZES, 5)
    assert files == make_toy.corpus(kind, SIZES, 5)
    assert files != make_toy.corpus(kind, SIZES, 6)
    larger = make_toy.corpus(kind, {**SIZES, "train": 700}, 5)
    for name, lines in files.items():
        assert lines == (larger[name][:600] if name.startswith("train") else larger[name])


def test_running_text_takes_up_the_noun_before() -> None:
    lines = make_toy.corpus("lm", {"train": 2000, "valid": 1, "test": 1}, 1)["train.txt"]
    parsed = [parse_source(line.split()) for line in lines]
    number = {plural: single for single, plural, *_ in toy_grammar.NOUNS}
    firsts = [number.get(sentence[0][1], sentence[0][1]) for sentence in parsed]
    lasts = [number.get(sentence[2][1], sentence[2][1]) for sentence in parsed]
    share = sum(a == b for a, b in zip(firsts[1:], lasts, strict=False)) / 1999
    assert share == pytest.approx(0.7 + 0.3 / 16, abs=0.05)  # the noun, or by chance


def test_capacity_counts_the_sentences_of_a_small_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_grammar, "NOUNS", toy_grammar.NOUNS[:1])
    monkeypatch.setattr(toy_grammar, "ADJECTIVES", toy_grammar.ADJECTIVES[:1])
    monkeypatch.setattr(toy_grammar, "VERBS", toy_grammar.VERBS[:1])
    monkeypatch.setattr(toy_grammar, "ADVERBS", toy_grammar.ADVERBS[:1])
    monkeypatch.setattr(toy_grammar, "DETERMINERS", toy_grammar.DETERMINERS[:1])
    generator = random.Random(1)
    found = {toy_grammar.draw_sentence(generator).source() for _ in range(120_000)}
    assert len(found) == toy_grammar.capacity() == 400
    half = {"train": 198, "valid": 1, "test": 1}
    assert len(make_toy.draw(half, 1, running=False)["train"]) == 198
    with pytest.raises(CorpusError, match=r"^201 sentences .* supplies 200 different ones"):
        make_toy.draw({**half, "train": 199}, 1, running=False)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_an_empty_split_is_refused(split: str) -> None:
    with pytest.raises(CorpusError, match=f"--{split} 0 is too small; give 1 or more"):
        make_toy.draw({**SIZES, split: 0}, 1, running=False)
