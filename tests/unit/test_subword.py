"""Sampled sentences: what they depend on, what they keep, how they differ, what is refused."""

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch

from fairseq_bas.noise.subword import SubwordSampler, copy_keys, expected_growth
from fairseq_bas.noise.subword_model import read_model
from tests.subword_models import (
    EOS,
    ROOT,
    SPECIAL,
    UNKNOWN,
    processor_of,
    sampler_of,
    scores_of,
    stored,
    symbols_of,
    text_of,
    toy_lines,
    train,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder, lines = tmp_path_factory.mktemp("models"), toy_lines()
    kinds = {"unigram": 150, "bpe": 200, "char": 60}
    return {kind: train(folder, kind, lines, vocab, kind) for kind, vocab in kinds.items()}


@pytest.mark.parametrize(("kind", "strength"), [("unigram", 0.2), ("bpe", 0.3)])
def test_samples_are_segmentations_of_the_same_text(models, kind, strength):
    sampler = sampler_of(models[kind], strength)
    changed = 0
    for number, line in enumerate(toy_lines()[:100]):
        ids = stored(sampler, line)
        for copy in sampler.sample(ids, range(5 * number, 5 * number + 5), distinct=False):
            assert copy.dtype == torch.int64
            assert copy[-1] == EOS and not copy[:-1].lt(len(SPECIAL)).any()
            assert text_of(sampler, copy) == line
            changed += not torch.equal(copy, ids)
    assert changed > 250


# -- keys -------------------------------------------------------------------------------------


def samples(sampler: SubwordSampler, order: list[int]) -> dict[int, list[int]]:
    lines = toy_lines()
    return {
        i: sampler.sample(stored(sampler, lines[i]), [2**62 + i], distinct=True)[0].tolist()
        for i in order
    }


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_sample_depends_on_its_seed_only(models, kind):
    order = list(range(60))
    first = samples(sampler_of(models[kind], 0.2), order)
    again = sampler_of(models[kind], 0.2)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert samples(again, order[::-1]) == first
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert states == after
    lines = toy_lines()
    other = [again.sample(stored(again, lines[i]), [7 + i], distinct=True)[0] for i in order]
    assert sum(copy.tolist() != first[i] for i, copy in enumerate(other)) > 40


@pytest.mark.parametrize(("kind", "nbest"), [("unigram", -1), ("unigram", 16), ("bpe", -1)])
def test_another_process_draws_the_same(models, kind, nbest):
    """The sampler of sentencepiece fails this: its seeds mean something else in every process."""
    sampler = sampler_of(models[kind], 0.2, nbest=nbest)
    ids = stored(sampler, toy_lines()[0])
    code = (
        "import torch; from fairseq_bas.noise.subword import SubwordSampler\n"
        f"sampler = SubwordSampler({str(models[kind])!r}, {sampler.symbols!r}, 0.2, {nbest})\n"
        f"copies = sampler.sample(torch.tensor({ids.tolist()}), range(20), distinct=True)\n"
        "print([copy.tolist() for copy in copies])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    copies = [copy.tolist() for copy in sampler.sample(ids, range(20), distinct=True)]
    assert other.stdout.strip() == str(copies)


@pytest.mark.parametrize(("kind", "nbest"), [("unigram", -1), ("unigram", 8), ("bpe", -1)])
@pytest.mark.parametrize("distinct", [False, True])
def test_a_batch_is_its_sentences_one_by_one(models, kind, nbest, distinct):
    sampler, again = (sampler_of(models[kind], 0.3, nbest=nbest) for _ in range(2))
    lines = ["the horses see .", ".", *toy_lines()[:30], "a"]
    sentences = [torch.tensor([], dtype=torch.int64), *(stored(sampler, line) for line in lines)]
    keys = copy_keys(7, 2, 1, range(len(sentences)), range(2, 6))
    taken = [[ids] if i % 2 else [] for i, ids in enumerate(sentences)]
    batch = sampler.sample_batch(sentences, keys, distinct, taken, max_tokens=40)
    for i in reversed(range(len(sentences))):
        alone = again.sample(sentences[i], keys[i].tolist(), distinct, taken[i], max_tokens=40)
        assert len(alone) == len(batch[i]) == 4
        assert all(map(torch.equal, alone, batch[i]))
    none = np.empty((0, 3), np.int64)
    assert sampler.sample_batch([], none, distinct) == []
    assert sampler.sample_batch(sentences[:2], np.empty((2, 0), np.int64), distinct) == [[], []]


# -- distinct copies --------------------------------------------------------------------------


def test_copies_are_distinct_while_segmentations_are_likely(models):
    sampler = sampler_of(models["unigram"], 0.3)
    ids = stored(sampler, "the horses see .")
    plain = sampler.sample(ids, range(8), distinct=False)
    assert len({tuple(copy.tolist()) for copy in plain}) < 7
    copies = sampler.sample(ids, range(8), distinct=True, taken=[ids])
    assert len({tuple(copy.tolist()) for copy in [ids, *copies]}) == 9
    # Only repetitions are drawn again, and nothing depends on later copies.
    assert torch.equal(sampler.sample(ids, range(8), distinct=True)[0], plain[0])
    fewer = sampler.sample(ids, range(3), distinct=True, taken=[ids])
    assert all(map(torch.equal, fewer, copies[:3]))


def test_copies_repeat_where_there_are_too_few_segmentations(models):
    sampler = sampler_of(models["unigram"], 0.1)
    copies = sampler.sample(stored(sampler, "."), range(6), distinct=True)
    assert {text_of(sampler, copy) for copy in copies} == {"."}
    distinct = {tuple(copy.tolist()) for copy in copies}
    pieces = scores_of(processor_of(models["unigram"]))
    assert len(distinct) == 1 + ("▁." in pieces) < 6


# -- what is kept -----------------------------------------------------------------------------


def with_ids(ids: torch.Tensor, *more: int, at: int) -> torch.Tensor:
    return torch.cat([ids[:at], torch.tensor(more), ids[at:]])


@pytest.mark.parametrize(("kind", "nbest"), [("unigram", -1), ("bpe", -1), ("unigram", 64)])
@pytest.mark.parametrize("special", [UNKNOWN, 1, EOS, -1])
def test_what_is_no_text_stays_where_it_is(models, kind, nbest, special):
    sampler = sampler_of(models[kind], 0.2, nbest=nbest)
    special %= len(sampler.symbols)
    first, second = stored(sampler, "the horses see"), stored(sampler, "many birds .")
    ids = torch.cat([torch.tensor([0, special]), first[:-1], torch.tensor([special]), second])
    changed = 0
    for copy in sampler.sample(ids, range(9), distinct=True, taken=[ids]):
        tokens = copy.tolist()
        assert tokens[:2] == [0, special] and tokens[-1] == EOS
        middle = tokens.index(special, 2)
        texts = [tokens[2:middle], tokens[middle + 1 : -1]]
        assert [text_of(sampler, torch.tensor(t)) for t in texts] == [
            "the horses see",
            "many birds .",
        ]
        changed += tokens[2:middle] != first[:-1].tolist()
    assert changed > 2


def test_an_unknown_inside_a_word_keeps_the_text_around_it(models):
    """Where sentencepiece drew from a word with an unknown letter, no piece reached beyond it."""
    sampler = sampler_of(models["unigram"], 0.2)
    ids = stored(sampler, "hor\u4e2dses")
    assert UNKNOWN in ids
    for copy in sampler.sample(ids, range(9), distinct=True):
        before, after = "".join(sampler.symbols[i] for i in copy.tolist()).split("<unk>")
        assert (before, after) == ("▁hor", "ses</s>")


def test_text_that_sentencepiece_would_write_otherwise_is_not_lost(models):
    space = symbols_of(models["unigram"]).index("▁")
    for nbest in (-1, 8):
        sampler = sampler_of(models["unigram"], 0.2, nbest=nbest)
        ids = with_ids(stored(sampler, "horses see birds"), space, space, at=0)
        no_mark = torch.tensor([sampler.symbols.index(letter) for letter in "horses"] + [EOS])
        for sentence in (ids, no_mark, torch.tensor([EOS]), torch.tensor([], dtype=torch.int64)):
            written = "".join(sampler.symbols[i] for i in sentence.tolist())
            for copy in sampler.sample(sentence, range(5), distinct=False):
                assert "".join(sampler.symbols[i] for i in copy.tolist()) == written


def test_user_defined_symbols_and_bytes_are_left_alone(tmp_path):
    prefix = tmp_path / "spm"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(toy_lines()),
        model_prefix=str(prefix),
        vocab_size=450,
        model_type="bpe",
        user_defined_symbols=["<2de>", "ors"],
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
    )
    model = tmp_path / "spm.model"
    kept = {"<2de>", "ors", "<0xC3>", "<0xA9>"}
    assert not kept & read_model(str(model), "").scores.keys()
    sampler = sampler_of(model, 0.5)
    ids = stored(sampler, "<2de> the horses see \u00e9 birds")
    symbols = [sampler.symbols[i] for i in ids.tolist()]
    assert kept <= set(symbols)
    for copy in sampler.sample(ids, range(9), distinct=True, taken=[ids]):
        pieces = [sampler.symbols[i] for i in copy.tolist()]
        assert [p for p in pieces if p in kept] == [p for p in symbols if p in kept]
        assert "".join(pieces) == "".join(symbols)


def test_samples_that_are_too_long_give_way_to_the_stored_sentence(models):
    sampler = sampler_of(models["unigram"], 0.1)
    ids = stored(sampler, "the horses see many birds .")
    free = sampler.sample(ids, range(20), distinct=False)
    limit = sorted(map(len, free))[10]
    held = sampler.sample(ids, range(20), distinct=False, max_tokens=limit)
    for copy, unlimited in zip(held, free, strict=True):
        assert torch.equal(copy, unlimited if len(unlimited) <= limit else ids)
    assert any(torch.equal(copy, ids) for copy in held)


# -- growth -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "strength"), [("unigram", 0.2), ("bpe", 0.1)])
def test_growth_is_what_sampling_adds_on_average(models, kind, strength):
    sampler = sampler_of(models[kind], strength)
    sentences = [stored(sampler, line) for line in toy_lines()]
    growth = expected_growth(sampler, sentences, seed=3)
    drawn = [
        sum(map(len, sampler.sample(ids, range(9 * i, 9 * i + 3), distinct=False))) / 3
        for i, ids in enumerate(sentences)
    ]
    assert growth == pytest.approx(sum(drawn) / sum(map(len, sentences)), rel=0.02)
    assert growth > 1.1
    assert growth == expected_growth(sampler, sentences, seed=3)
    assert growth != expected_growth(sampler, sentences, seed=4)
    assert expected_growth(sampler, [], seed=3) == 1.0


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "strength", "nbest", "says"),
    [
        ("unigram", 0.0, -1, "0.0 is no inverse temperature; give a number above 0"),
        ("unigram", math.nan, -1, "no inverse temperature"),
        ("unigram", math.inf, -1, "no inverse temperature"),
        ("unigram", 0.2, 1, "cannot draw from 1 best segmentations; give 2 to 512"),
        ("unigram", 0.2, 513, "cannot draw from 513"),
        ("bpe", 0.0, -1, "0.0 is no probability of dropping a merge"),
        ("bpe", 1.0, -1, "1.0 is no probability"),
        ("bpe", 0.1, 64, "exist for unigram models only"),
        ("char", 0.1, -1, "is a model of type char, which has one segmentation"),
    ],
)
def test_bad_numbers_and_models_are_refused(models, kind, strength, nbest, says):
    with pytest.raises(ValueError, match=says) as error:
        sampler_of(models[kind], strength, nbest=nbest, flag="--subword")
    assert str(error.value).startswith("--subword: ")


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "does not exist"), (b"", "is not a sentencepiece"), (b"hello\n", "is not a sentence")],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content, says):
    path = tmp_path / "some.model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=says) as error:
        SubwordSampler(path, SPECIAL, 0.1, flag="--subword")
    assert str(path) in str(error.value) and "spm.model" in str(error.value)


def test_a_dictionary_that_lacks_pieces_is_refused(models):
    symbols = [symbol for symbol in symbols_of(models["bpe"]) if symbol not in ("▁the", "e")]
    pieces = len(symbols_of(models["bpe"])) - len(SPECIAL) - 1
    says = rf"lacks 2 of the {pieces} pieces of .*, '▁the' for one.*data/subword.py.*--srcdict"
    with pytest.raises(ValueError, match=says):
        SubwordSampler(models["bpe"], symbols, 0.1)
