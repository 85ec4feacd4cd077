"""Samples of words: how likely they are, and what they depend on."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from fairseq_bas.noise import tabled_walk, word_draws
from fairseq_bas.noise.alias_table import BITS, alias_table
from fairseq_bas.noise.counter_hash import child_key, child_keys
from fairseq_bas.noise.random_walk import Choice
from fairseq_bas.noise.tabled_walk import TabledWalk
from fairseq_bas.noise.word_draws import WordDraws


class Letters:
    """Write each "x" of a text as 0 (0.3) or 1 1 (0.7); refuse a text with "?"."""

    def begin(self, text: str) -> str | None:
        return None if "?" in text else text

    def choices(self, state: str) -> list[Choice]:
        step = None if len(state) == 1 else 1
        return [Choice(0.3, (0,), step), Choice(0.0, (7,), step), Choice(0.7, (1, 1), step)]

    def after(self, state: str, step: int) -> str:
        return state[step:]


def drawn(draws: WordDraws, texts: list[str], keys) -> list[list[int]]:
    words = np.array([draws.add(text) for text in texts])
    ids, counts = draws.draw(words, np.asarray(keys, np.int64))
    assert len(counts) == len(texts)
    return [ids[a:b].tolist() for a, b in pairwise([0, *np.cumsum(counts).tolist()])]


def random_keys(count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**63), 2**63, count)


@pytest.mark.parametrize("letters", [3, 30, 40])
def test_letters_are_as_likely_as_stated_and_independent(letters):
    """Three letters are drawn at once, thirty in many steps, and forty are walked through."""
    count = 6000 if letters < 40 else 1500
    samples = drawn(WordDraws(Letters()), ["x" * letters] * count, random_keys(count))
    zeros = np.array([[letter == "0" for letter in _letters(s)] for s in samples])
    assert zeros.shape == (count, letters)
    for column in zeros.T:
        assert chisquare([column.sum(), (~column).sum()], [0.3 * count, 0.7 * count]).pvalue > 1e-4
    for one, other in pairwise(range(0, letters, max(1, letters // 6))):
        both = Counter(zip(zeros[:, one].tolist(), zeros[:, other].tolist(), strict=True))
        table = [[both[a, b] for b in (True, False)] for a in (True, False)]
        assert chi2_contingency(table).pvalue > 1e-4


def _letters(sample: list[int]) -> str:
    return "".join(map(str, sample)).replace("11", "1")


def test_a_sample_depends_on_its_text_and_key_only(monkeypatch):
    texts, keys = ["x" * (1 + i % 40) for i in range(300)], random_keys(300)
    truth = drawn(WordDraws(Letters()), texts, keys)
    assert len(set(map(tuple, truth))) > 200
    order = np.random.default_rng(4).permutation(300)
    mixed = drawn(WordDraws(Letters()), [texts[i] for i in order], keys[order])
    assert mixed == [truth[i] for i in order]
    monkeypatch.setattr(word_draws, "LIMIT", 40)
    draws, cleared = WordDraws(Letters()), 0
    for text, key, sample in zip(texts, keys, truth, strict=True):
        cleared += draws.make_room()
        assert drawn(draws, [text], [key]) == [sample]
    assert cleared > 20


def test_what_is_fixed_stays_and_what_cannot_be_written_has_no_number():
    draws = WordDraws(Letters())
    words = np.array([draws.add_fixed([5, 3]), draws.add_fixed([]), draws.add_fixed([5, 3])])
    ids, counts = draws.draw(words, random_keys(3))
    assert ids.tolist() == [5, 3, 5, 3] and counts.tolist() == [2, 0, 2]
    assert draws.add("x?") == -1
    ids, counts = draws.draw(np.empty(0, np.int64), random_keys(0))
    assert len(ids) == len(counts) == 0


def test_a_tabled_walk_is_one_of_arrays():
    """Each step takes what the published table has at the place that its key stands for."""
    walk, shares, others = TabledWalk(Letters()), *zip(*alias_table([0.3, 0.0, 0.7]), strict=True)
    written = [[0], [7], [1, 1]]
    for key in random_keys(50):
        keys, expected = np.array([key]), []
        for _ in range(9):
            keys = child_keys(keys, np.array([0]))
            place = keys.view(np.uint64).item() / 2**64 * 3
            slot, part = int(place), place % 1
            expected += written[slot if part < shares[slot] / 2**BITS else others[slot]]
        assert walk.draw("x" * 9, int(key)) == expected


class Counted(Letters):
    """Count how often the choices of a state were asked for."""

    def __init__(self):
        self.asked = Counter()

    def choices(self, state: str) -> list[Choice]:
        self.asked[state] += 1
        return super().choices(state)


def test_tables_of_a_walk_are_kept_as_far_as_there_is_room(monkeypatch):
    texts, keys = ["x" * (1 + i % 9) for i in range(60)], random_keys(60)
    found = []
    for limit in (1 << 18, 10):  # a table has three slots
        monkeypatch.setattr(tabled_walk, "LIMIT", limit)
        counted = Counted()
        walk = TabledWalk(counted)
        found.append([walk.draw(text, int(key)) for text, key in zip(texts, keys, strict=True)])
        assert len(counted.asked) == 9
        assert (max(counted.asked.values()) == 1) == (limit > 10)
    assert found[0] == found[1]


def test_the_child_of_one_key_is_that_of_many():
    keys, numbers = random_keys(200), np.arange(200) ** 7
    children = child_keys(keys, numbers).view(np.uint64).tolist()
    for same_bits in (keys, keys.view(np.uint64)):
        pairs = zip(same_bits.tolist(), numbers.tolist(), strict=True)
        assert [child_key(key, number) for key, number in pairs] == children


@pytest.mark.parametrize(
    "probabilities", [[1.0], [1e-20, 1.0], [0.5, 0.5 + 1e-9], [1 / 3] * 3, [0.7, 0.1, 0.15, 0.05]]
)
def test_alias_tables_keep_probabilities(probabilities):
    """The shares of an outcome over all slots, added up, are its probability."""
    slots = alias_table(probabilities)
    found = [0.0] * len(probabilities)
    for own, (share, other) in enumerate(slots):
        assert 0 <= share <= 2**BITS
        found[own] += share / 2**BITS / len(slots)
        found[other] += 1 / len(slots) - share / 2**BITS / len(slots)
    assert found == pytest.approx(probabilities, abs=2e-9)
