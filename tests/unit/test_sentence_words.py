"""Words of sentences: the same whether a sentence is kept, split anew, or forgotten in between."""

import numpy as np
import pytest

from fairseq_bas.noise import sentence_words, word_draws
from fairseq_bas.noise.subword import copy_keys
from tests.subword_models import sampler_of, stored, toy_lines, train


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("model"), "toy", toy_lines(), 150, "unigram")


def copies(sampler, sentences, chosen) -> dict[int, list[list[int]]]:
    keys = copy_keys(3, 1, 0, chosen, range(2))
    drawn = sampler.sample_batch([sentences[i] for i in chosen], keys, distinct=True)
    return {i: [copy.tolist() for copy in own] for i, own in zip(chosen, drawn, strict=True)}


@pytest.mark.parametrize(("kept_ids", "limit"), [(0, 1 << 21), (60, 1 << 21), (1 << 21, 8)])
def test_what_is_kept_changes_no_sample(monkeypatch, model, kept_ids, limit):
    monkeypatch.setattr(sentence_words, "KEPT_IDS", kept_ids)
    monkeypatch.setattr(word_draws, "LIMIT", limit)
    sampler = sampler_of(model, 0.3)
    lines = [*toy_lines()[:12], "qq the horses see .", ""]  # "q" is in no piece
    sentences = [stored(sampler, line) for line in lines]
    rng = np.random.default_rng(5)
    for count in (1, 9, 14, 14, 5):
        chosen = rng.integers(len(sentences), size=count).tolist()
        seen = copies(sampler, sentences, chosen)
        for i, drawn in seen.items():
            assert drawn == copies(sampler_of(model, 0.3), sentences, [i])[i]


def test_only_so_many_ids_are_kept(monkeypatch, model):
    monkeypatch.setattr(sentence_words, "KEPT_IDS", 60)
    sampler = sampler_of(model, 0.3)
    sentences = [stored(sampler, line) for line in toy_lines()[:40]]
    for epoch in range(2):
        copies(sampler, sentences, list(range(40)))
        kept = [len(content) // 8 for content in sampler._words._kept]
        assert 60 <= sum(kept) < 60 + max(map(len, sentences)), epoch


def test_a_known_sentence_is_not_split_again(monkeypatch, model):
    sampler = sampler_of(model, 0.3)
    sentences = [stored(sampler, line) for line in toy_lines()[:4]]
    split, asked = sampler._words._split, []
    monkeypatch.setattr(sampler._words, "_split", lambda new: asked.append(len(new)) or split(new))
    for chosen in ([0, 1], [1, 2, 0], [3, 2]):
        copies(sampler, sentences, chosen)
    assert asked == [2, 1, 1]
