"""The grammar of the toy corpus: what a sentence means, and how two languages say it.

The source is a fragment of English. The target is invented and says the same by other means:

- articles, adjectives and relative pronouns end in -o, -i, -a or -e for the gender (m, f) and
  the number (singular, plural) of their noun; the gender of a noun has to be learned;
- nouns add -n in the plural; verbs end in -as, -an in the present and -is, -in in the past, for
  singular and plural, also where English shows no number (``saw``) or no gender (``the``);
- adjectives follow the noun, the adverb precedes the verb, and a relative clause has its verb last.

So neither a copy nor a word-by-word dictionary translates, but a small model learns it. Both
sides are one-to-one with the meaning: sentences of the source that differ translate differently.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# English singular and plural; target stem and gender.
NOUNS = (
    *(("dog", "dogs", "ruv", "m"), ("cat", "cats", "mil", "f"), ("bird", "birds", "pelu", "f")),
    *(("horse", "horses", "kaba", "m"), ("mouse", "mice", "sori", "f"), ("man", "men", "vir", "m")),
    *(("child", "children", "nen", "m"), ("woman", "women", "dam", "f")),
    *(("teacher", "teachers", "leru", "f"), ("king", "kings", "reg", "m")),
    *(("witch", "witches", "brus", "f"), ("wolf", "wolves", "lup", "m")),
    *(("baker", "bakers", "pasto", "m"), ("fish", "fishes", "pesk", "f")),
    *(("thief", "thieves", "lad", "m"), ("queen", "queens", "rein", "f")),
)
ADJECTIVES = (
    *(("small", "mik"), ("big", "gam"), ("red", "ruj"), ("young", "jun")),
    *(("quiet", "tas"), ("brave", "fort"), ("tired", "las"), ("green", "verd")),
)
# English third person singular, plural, past; target stem.
VERBS = (
    *(("sees", "see", "saw", "vid"), ("finds", "find", "found", "trov")),
    *(("follows", "follow", "followed", "sek"), ("helps", "help", "helped", "jut")),
    *(("knows", "know", "knew", "kon"), ("hears", "hear", "heard", "aud")),
    *(("carries", "carry", "carried", "port"), ("watches", "watch", "watched", "gard")),
    *(("calls", "call", "called", "vok"), ("draws", "draw", "drew", "pint")),
)
ADVERBS = (("often", "sepe"), ("quietly", "lene"), ("today", "hodi"), ("slowly", "lante"))
# English; target stem; whether it goes with the plural.
DETERMINERS = (
    *(("the", "t", False), ("a", "en", False), ("this", "dis", False)),
    *(("the", "t", True), ("many", "pol", True), ("these", "dis", True)),
)
AGREEMENT = {("m", False): "o", ("m", True): "i", ("f", False): "a", ("f", True): "e"}
TENSED = {("now", False): "as", ("now", True): "an", ("past", False): "is", ("past", True): "in"}


@dataclass(frozen=True)
class NounPhrase:
    """A thing: ``adjective`` and ``relative`` may be None, the others are lexicon entries."""

    determiner: tuple[str, str, bool]
    noun: tuple[str, str, str, str]
    adjective: tuple[str, str] | None = None
    relative: "Clause | None" = None

    @property
    def plural(self) -> bool:
        """Tell whether it is several things."""
        return self.determiner[2]

    def source(self) -> list[str]:
        """Return the English words."""
        adjective = [self.adjective[0]] if self.adjective else []
        words = [self.determiner[0], *adjective, self.noun[self.plural]]
        return words + (["that", *self.relative.source(self)] if self.relative else [])

    def target(self) -> list[str]:
        """Return the words of the target language."""
        ending = AGREEMENT[self.noun[3], self.plural]
        words = [self.determiner[1] + ending, self.noun[2] + ("n" if self.plural else "")]
        words += [self.adjective[1] + ending] if self.adjective else []
        if self.relative:
            words += ["ke" + ending, *self.relative.thing.target(), self.relative.verb_target(self)]
        return words


@dataclass(frozen=True)
class Clause:
    """What a subject does: a verb in a tense (``now`` or ``past``) and the thing it is done to."""

    verb: tuple[str, str, str, str]
    tense: str
    thing: NounPhrase

    def source(self, subject: NounPhrase) -> list[str]:
        """Return the English words after the subject."""
        return [self.verb[2 if self.tense == "past" else subject.plural], *self.thing.source()]

    def verb_target(self, subject: NounPhrase) -> str:
        """Return the verb in the target language."""
        return self.verb[3] + TENSED[self.tense, subject.plural]


@dataclass(frozen=True)
class Sentence:
    """A main clause; ``adverb`` may be None."""

    subject: NounPhrase
    clause: Clause
    adverb: tuple[str, str] | None = None

    def source(self) -> str:
        """Return the English sentence, tokens separated by spaces."""
        adverb = [self.adverb[0]] if self.adverb else []
        return " ".join([*self.subject.source(), *self.clause.source(self.subject), *adverb, "."])

    def target(self) -> str:
        """Return the sentence in the target language, tokens separated by spaces."""
        adverb = [self.adverb[1]] if self.adverb else []
        verb = self.clause.verb_target(self.subject)
        return " ".join([*self.subject.target(), *adverb, verb, *self.clause.thing.target(), "."])


def pick(generator: random.Random, items: Sequence[T]) -> T:
    """Return a random item; uses ``random()`` only, whose sequence Python promises to keep."""
    return items[int(generator.random() * len(items))]


def draw_noun_phrase(
    generator: random.Random, relative: float, noun: tuple[str, str, str, str] | None = None
) -> NounPhrase:
    """Draw a noun phrase.

    Args:
        generator: source of randomness.
        relative: probability of a relative clause, in [0, 1].
        noun: lexicon entry to use; default a random one.
    """
    return NounPhrase(
        determiner=pick(generator, DETERMINERS),
        noun=noun or pick(generator, NOUNS),
        adjective=pick(generator, ADJECTIVES) if generator.random() < 0.4 else None,
        relative=draw_clause(generator, 0) if generator.random() < relative else None,
    )


def draw_clause(generator: random.Random, relative: float) -> Clause:
    """Draw a clause whose thing has a relative clause with probability ``relative``."""
    tense = pick(generator, ("now", "past"))
    return Clause(pick(generator, VERBS), tense, draw_noun_phrase(generator, relative))


def draw_sentence(
    generator: random.Random, noun: tuple[str, str, str, str] | None = None
) -> Sentence:
    """Draw a sentence of 6 to 19 tokens, optionally with a given noun as the subject's."""
    subject = draw_noun_phrase(generator, 0.3, noun)
    clause = draw_clause(generator, 0.2)
    adverb = pick(generator, ADVERBS) if generator.random() < 0.4 else None
    return Sentence(subject, clause, adverb)


def capacity() -> int:
    """Return the number of distinct sentences of the grammar."""
    plain = len(DETERMINERS) * len(NOUNS) * (1 + len(ADJECTIVES))
    phrase = plain * (1 + len(VERBS) * 2 * plain)
    return phrase * len(VERBS) * 2 * phrase * (1 + len(ADVERBS))
