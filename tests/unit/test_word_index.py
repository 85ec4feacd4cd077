"""Numbers of words: found again by their ids, whatever hashes say."""

import random

import numpy as np
import pytest

from fairseq_bas.noise.word_index import WordIndex


def words_of(rng: random.Random, count: int) -> list[tuple[int, ...]]:
    return [tuple(rng.choices(range(6), k=rng.randint(1, 4))) for _ in range(count)]


@pytest.mark.parametrize("colliding", [False, True])
def test_words_keep_the_number_they_were_given_first(colliding):
    """With codes that are the same for all ids, most words share their hash with others."""
    codes = np.ones(6, np.int64) if colliding else np.random.default_rng(1).integers(2**62, size=6)
    given: dict[tuple[int, ...], int] = {}

    def number_of(ids: np.ndarray) -> int:
        word = tuple(ids.tolist())
        assert word not in given
        given[word] = len(given) - 1  # -1 is a number, too
        return given[word]

    index, rng = WordIndex(codes, number_of), random.Random(2)
    for count in (1, 0, 40, 300, 300):
        words = words_of(rng, count)
        ids = np.array([i for word in words for i in word], np.int64)
        begins = np.cumsum([0, *map(len, words)])[:-1]
        assert index.find(ids, begins).tolist() == [given[word] for word in words]
    assert 200 < len(given) < 641
    index.clear()
    given.clear()
    assert index.find(np.array([3]), np.array([0])).tolist() == [-1]
