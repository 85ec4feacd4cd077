"""Segmentations drawn from a sentencepiece model, against enumeration and the paper's algorithm."""

import importlib
import itertools
import math
import pydoc_data.topics
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from scipy.stats import chisquare

from fairseq_bas.noise.subword import SubwordSampler, expected_growth
from fairseq_bas.noise.subword_model import DROPOUT_TABLE, alpha_of_dropout

DATA = Path(__file__).resolve().parents[2] / "data"
sys.path.insert(0, str(DATA))
toy_grammar = importlib.import_module("toy_grammar")

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
EOS, UNKNOWN, TAG = 2, 3, "[en_XX]"


def toy_lines() -> list[str]:
    rng = random.Random(5)
    pairs = [toy_grammar.draw_sentence(rng) for _ in range(600)]
    return [side for pair in pairs for side in (pair.source(), pair.target())]


def english_lines() -> list[str]:
    """Return prose that comes with Python: the language reference."""
    text = "\n".join(pydoc_data.topics.topics.values())
    return [line for line in text.splitlines() if len(line.split()) > 4]


def train(folder: Path, name: str, lines: list[str], vocab: int, kind: str) -> Path:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / name),
        vocab_size=vocab,
        model_type=kind,
        character_coverage=1.0,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return folder / f"{name}.model"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder, lines = tmp_path_factory.mktemp("models"), toy_lines()
    kinds = {"unigram": 150, "bpe": 200, "char": 60}
    models = {kind: train(folder, kind, lines, vocab, kind) for kind, vocab in kinds.items()}
    models["english"] = train(folder, "english", english_lines()[:3000], 2000, "bpe")
    return models


def symbols_of(model: Path) -> list[str]:
    """Return a dictionary that numbers the pieces otherwise than the model does."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    return [*SPECIAL, *sorted(processor.id_to_piece(i) for i in range(3, len(processor))), TAG]


def sampler_of(model: Path, strength: float, **kwargs) -> SubwordSampler:
    return SubwordSampler(model, symbols_of(model), strength, **kwargs)


def stored(sampler: SubwordSampler, line: str) -> torch.Tensor:
    pieces = sampler.processor.encode(line, out_type=str)
    index = {symbol: i for i, symbol in enumerate(sampler.symbols)}
    return torch.tensor([*(index.get(piece, UNKNOWN) for piece in pieces), EOS])


def text_of(sampler: SubwordSampler, ids: torch.Tensor) -> str:
    return "".join(sampler.symbols[i] for i in ids.tolist() if i != EOS).replace("▁", " ").strip()


# -- what is drawn ----------------------------------------------------------------------------


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


def scores_of(processor) -> dict[str, float]:
    return {processor.id_to_piece(i): processor.get_score(i) for i in range(3, len(processor))}


def segmentations(word: str, scores: dict[str, float]) -> dict[tuple[str, ...], float]:
    """Enumerate all segmentations of a word with their log-probabilities."""
    found = {}
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [len(word)]
        pieces = tuple(word[a:b] for a, b in zip([0, *ends], ends, strict=False))
        if all(piece in scores for piece in pieces):
            found[pieces] = sum(scores[piece] for piece in pieces)
    return found


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5])
def test_unigram_samples_follow_the_tempered_distribution(models, alpha):
    sampler = sampler_of(models["unigram"], alpha)
    processor = sampler.processor
    scores = scores_of(processor)
    all_of_them = segmentations("▁horses", scores)
    weight = np.exp(alpha * np.array(list(all_of_them.values())))
    expected = 6000 * weight / weight.sum()
    copies = sampler.sample(stored(sampler, "horses"), range(6000), distinct=False)
    drawn = Counter(tuple(sampler.symbols[i] for i in copy[:-1].tolist()) for copy in copies)
    assert set(drawn) <= set(all_of_them)
    observed = np.array([drawn[pieces] for pieces in all_of_them])
    common = expected >= 5
    assert common.sum() >= 3
    observed, expected = (
        np.append(counts[common], counts[~common].sum()) for counts in (observed, expected)
    )
    if expected[-1] < 5:
        observed, expected = (
            observed[:-1],
            expected[:-1] * observed[:-1].sum() / expected[:-1].sum(),
        )
    assert chisquare(observed, expected).pvalue > 1e-3


def test_nbest_draws_from_the_best_segmentations_only(models):
    sampler = sampler_of(models["unigram"], 0.1, nbest=3)
    best = sampler.processor.nbest_encode("children", nbest_size=3, out_type=str)
    copies = sampler.sample(stored(sampler, "children"), range(300), distinct=False)
    drawn = {tuple(sampler.symbols[i] for i in copy[:-1].tolist()) for copy in copies}
    assert drawn == {tuple(pieces) for pieces in best}


def paper_bpe_dropout(word: str, score: dict[str, float], p: float, rng: random.Random) -> list:
    """Algorithm 1 of Provilkov et al. 2020: before each merge, every candidate is dropped with p.

    The candidates are neighbours whose union is a piece; the best score merges first.
    """
    tokens = list(word)
    while True:
        kept = [
            (score[a + b], -i)
            for i, (a, b) in enumerate(itertools.pairwise(tokens))
            if a + b in score and rng.random() >= p
        ]
        if not kept:
            return tokens
        i = -max(kept)[1]
        tokens[i : i + 2] = ["".join(tokens[i : i + 2])]


@pytest.mark.parametrize("name", ["bpe", "english"])
@pytest.mark.parametrize("p", [0.05, 0.1, 0.2, 0.3])
def test_bpe_dropout_leaves_as_many_tokens_as_the_algorithm_of_the_paper(models, name, p):
    sampler = sampler_of(models[name], p)
    processor = sampler.processor
    score = scores_of(processor)
    lines = toy_lines() if name == "bpe" else english_lines()[:3000]
    rng = random.Random(8)
    words = [rng.choice(rng.choice(lines).split()) for _ in range(1500)]
    plain = [paper_bpe_dropout(f"▁{word}", score, 0.0, rng) for word in words]
    assert plain == [processor.encode(word, out_type=str) for word in words]
    paper = sum(len(paper_bpe_dropout(f"▁{word}", score, p, rng)) for word in words)
    ours = sum(
        len(sampler.sample(stored(sampler, word), [seed], distinct=False)[0]) - 1
        for seed, word in enumerate(words)
    )
    assert ours == pytest.approx(paper, rel=0.05)
    assert paper > 1.02 * sum(map(len, plain))


def test_the_dropout_table_is_monotone_and_below_the_diagonal():
    assert (np.diff(DROPOUT_TABLE[:, [0, 3]], axis=0) > 0).all()
    assert all(alpha_of_dropout(p) < p for p in np.linspace(0.01, 0.99, 99))


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


def test_threads_do_not_disturb_each_other(models):
    sampler = sampler_of(models["unigram"], 0.2)
    order = list(range(150))
    expected, found = samples(sampler, order), [None] * 4

    def work(number: int) -> None:
        found[number] = samples(sampler, order)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_the_seed_that_sentencepiece_keeps_for_itself_is_not_used(models):
    sampler = sampler_of(models["unigram"], 0.1)
    ids = stored(sampler, toy_lines()[0])
    pairs = [sampler.sample(ids, [2**32 - 1] * 2, distinct=False) for _ in range(3)]
    assert all(torch.equal(one, other) for one, other in pairs)


# -- distinct copies --------------------------------------------------------------------------


def test_copies_are_distinct_while_segmentations_are_likely(models):
    sampler = sampler_of(models["unigram"], 0.3)
    ids = stored(sampler, "the horses see .")
    plain = sampler.sample(ids, range(8), distinct=False)
    assert len({tuple(copy.tolist()) for copy in plain}) < 8
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
    assert len(distinct) == len(segmentations("▁.", scores_of(sampler.processor))) < 6


# -- sentences that are kept ------------------------------------------------------------------


def with_ids(ids: torch.Tensor, *more: int, at: int) -> torch.Tensor:
    return torch.cat([ids[:at], torch.tensor(more), ids[at:]])


@pytest.mark.parametrize("special", [UNKNOWN, 1, EOS, None])
def test_a_special_symbol_inside_keeps_the_sentence(models, special):
    sampler = sampler_of(models["unigram"], 0.1)
    ids = stored(sampler, "the horses see many birds .")
    inside = len(sampler.symbols) - 1 if special is None else special
    with_special = with_ids(ids, inside, at=4)
    assert not sampler.can_sample(with_special)
    copies = sampler.sample(with_special, range(4), distinct=True)
    assert all(torch.equal(copy, with_special) for copy in copies)


def test_special_symbols_at_the_ends_stay_there(models):
    sampler = sampler_of(models["unigram"], 0.1)
    line, tag = "the horses see many birds .", len(sampler.symbols) - 1
    ids = with_ids(with_ids(stored(sampler, line)[:-1], 0, at=0), tag, at=10**6)
    for copy in sampler.sample(ids, range(4), distinct=True, taken=[ids]):
        assert (copy[0], copy[-1]) == (0, tag)
        assert text_of(sampler, copy[1:-1]) == line
        assert not torch.equal(copy, ids)


def test_a_sentence_that_the_model_would_not_write_is_kept(models):
    sampler = sampler_of(models["unigram"], 0.1)
    space = sampler.symbols.index("▁")
    two_spaces = with_ids(stored(sampler, "horses see birds"), space, space, at=0)
    no_mark = torch.tensor([sampler.symbols.index(letter) for letter in "horses"] + [EOS])
    for ids in (two_spaces, no_mark, torch.tensor([EOS]), torch.tensor([], dtype=torch.int64)):
        assert not sampler.can_sample(ids)
        assert torch.equal(sampler.sample(ids, [1], distinct=True)[0], ids)


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


def test_growth_refuses_a_data_set_of_another_model(models):
    sampler = sampler_of(models["bpe"], 0.1)
    broken = [with_ids(stored(sampler, line), UNKNOWN, at=3) for line in toy_lines()[:30]]
    with pytest.raises(ValueError, match=r"none of the 30 sentences .* give the model"):
        expected_growth(sampler, broken, seed=1)


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


def test_a_sentencepiece_that_cannot_be_seeded_again_is_refused(models, monkeypatch):
    # What releases before 0.2.3 do: the first seed of a thread stays.
    monkeypatch.setattr(sentencepiece, "set_random_generator_seed", lambda seed: None)
    with pytest.raises(ValueError, match=r"ignores a new seed .* install sentencepiece 0.2.3"):
        sampler_of(models["unigram"], 0.2)


# -- the data script --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_the_data_script_writes_a_dictionary_of_the_whole_model(tmp_path, kind):
    lines = toy_lines()[:600]
    for name, part in (
        ("train", slice(500)),
        ("valid", slice(500, 550)),
        ("test", slice(550, 600)),
    ):
        for side, offset in (("src", 0), ("tgt", 1)):
            text = "".join(f"{line}\n" for line in lines[part][offset::2])
            (tmp_path / f"{name}.{side}").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, DATA / "subword.py", "--corpus", tmp_path, "--out", out]
    subprocess.run([*map(str, command), "--vocab", "120", "--type", kind], check=True)
    rows = [line.split(" ") for line in (out / "dict.txt").read_text("utf-8").splitlines()]
    train_text = "".join((out / f"train.{side}").read_text("utf-8") for side in ("src", "tgt"))
    counts = Counter(train_text.split())
    assert {piece: int(count) for piece, count in rows} == {
        piece: max(1, counts[piece]) for piece, _ in rows
    }
    assert any(count == "1" and piece not in counts for piece, count in rows)
    assert [int(count) for _, count in rows] == sorted((int(c) for _, c in rows), reverse=True)
    sampler = SubwordSampler(out / "spm.model", [*SPECIAL, *(piece for piece, _ in rows)], 0.2)
    assert sampler.model_type == kind
    ids = stored(sampler, lines[0])
    assert sampler.can_sample(ids) and UNKNOWN not in ids
