"""How segmentations are distributed, against enumeration and the published algorithms."""

import itertools
import math
import random
from collections import Counter
from pathlib import Path

import pytest
import sentencepiece
from scipy.stats import chisquare

from fairseq_bas.noise.random_walk import likeliest
from fairseq_bas.noise.segmentation import MergeDropout, UnigramLattice
from fairseq_bas.noise.subword import SubwordSampler
from tests.subword_models import (
    english_lines,
    processor_of,
    sampler_of,
    scores_of,
    stored,
    toy_lines,
    train,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder, lines = tmp_path_factory.mktemp("models"), toy_lines()
    kinds = {"unigram": 150, "bpe": 200}
    models = {kind: train(folder, kind, lines, vocab, kind) for kind, vocab in kinds.items()}
    models["english"] = train(folder, "english", english_lines()[:3000], 2000, "bpe")
    return models


def segmentations(word: str, scores: dict[str, float]) -> dict[tuple[str, ...], float]:
    """Enumerate all segmentations of a word with their log-probabilities."""
    found = {}
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [len(word)]
        pieces = tuple(word[a:b] for a, b in zip([0, *ends], ends, strict=False))
        if all(piece in scores for piece in pieces):
            found[pieces] = sum(scores[piece] for piece in pieces)
    return found


def require_same_distribution(drawn: Counter, probability: dict[tuple[str, ...], float]) -> None:
    """Compare counts with exact probabilities by chi-square, rare outcomes put together."""
    assert set(drawn) <= set(probability)
    total = sum(drawn.values())
    common = [outcome for outcome, p in probability.items() if p * total >= 5]
    assert len(common) >= 3
    observed = [drawn[outcome] for outcome in common]
    expected = [probability[outcome] * total for outcome in common]
    if total - sum(expected) >= 5:
        observed.append(total - sum(observed))
        expected.append(total - sum(expected))
    scale = sum(observed) / sum(expected)
    assert chisquare(observed, [scale * count for count in expected]).pvalue > 1e-3


def draw(sampler: SubwordSampler, word: str, count: int) -> Counter:
    copies = sampler.sample(stored(sampler, word), range(count), distinct=False)
    return Counter(tuple(sampler.symbols[i] for i in copy[:-1].tolist()) for copy in copies)


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("word", ["horses", "children"])
def test_unigram_samples_follow_the_tempered_distribution(models, word, alpha):
    sampler = sampler_of(models["unigram"], alpha)
    score = segmentations(f"▁{word}", scores_of(processor_of(models["unigram"])))
    weight = {pieces: math.exp(alpha * score) for pieces, score in score.items()}
    probability = {pieces: value / sum(weight.values()) for pieces, value in weight.items()}
    require_same_distribution(draw(sampler, word, 5000), probability)


def test_nbest_draws_from_the_best_segmentations_only(models):
    sampler = sampler_of(models["unigram"], 0.1, nbest=4)
    processor, line = processor_of(models["unigram"]), "children help"
    scores = scores_of(processor)
    best = [tuple(pieces) for pieces in processor.nbest_encode(line, nbest_size=4, out_type=str)]
    weight = [math.exp(0.1 * sum(scores[piece] for piece in pieces)) for pieces in best]
    probability = {pieces: w / sum(weight) for pieces, w in zip(best, weight, strict=True)}
    require_same_distribution(draw(sampler, line, 2000), probability)


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


def exact_bpe_dropout(
    tokens: tuple[str, ...], score: dict[str, float], p: float, reached: float = 1.0
) -> Counter:
    """Follow every choice of the algorithm: the probability of each segmentation."""
    ranked = sorted(
        (-score[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(tokens)) if a + b in score
    )
    ends = Counter({tokens: reached * p ** len(ranked)})
    for dropped, (_, i) in enumerate(ranked):
        merged = (*tokens[:i], tokens[i] + tokens[i + 1], *tokens[i + 2 :])
        ends.update(exact_bpe_dropout(merged, score, p, reached * p**dropped * (1 - p)))
    return ends


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("word", ["horses", "child"])
def test_bpe_samples_follow_the_distribution_of_the_paper(models, word, p):
    score = scores_of(processor_of(models["bpe"]))
    probability = exact_bpe_dropout(tuple(f"▁{word}"), score, p)
    assert sum(probability.values()) == pytest.approx(1.0)
    require_same_distribution(draw(sampler_of(models["bpe"], p), word, 5000), probability)


def walked(walk, state, written: tuple[int, ...] = (), reached: float = 1.0) -> Counter:
    """Follow every choice of a walk: the probability of each sequence of ids."""
    if state is None:
        return Counter({written: reached})
    ends = Counter()
    choices = walk.choices(state)
    assert sum(choice.probability for choice in choices) == pytest.approx(1.0, abs=1e-12)
    for probability, ids, step in choices:
        after = None if step is None else walk.after(state, step)
        ends.update(walked(walk, after, (*written, *ids), reached * probability))
    return ends


def tabled(walk, state, written: tuple[int, ...] = (), reached: float = 1.0) -> Counter:
    """The same, of the outcomes that are tabled for a word, and of those after them."""
    ends = Counter()
    for probability, ids, after in likeliest(walk, state):
        if after is None:
            ends[(*written, *ids)] += reached * probability
        else:
            ends.update(walked(walk, after, (*written, *ids), reached * probability))
    return ends


@pytest.mark.parametrize("alpha", [0.1, 1.0, 3.0])
def test_walks_of_a_lattice_are_as_likely_as_enumeration_says(models, alpha):
    scores = scores_of(processor_of(models["unigram"]))
    number = {piece: i for i, piece in enumerate(scores)}
    lattice = UnigramLattice(scores, alpha, number)
    for word in ("▁horses", "▁children", "ses"):
        weight = {p: math.exp(alpha * score) for p, score in segmentations(word, scores).items()}
        truth = {tuple(map(number.get, p)): w / sum(weight.values()) for p, w in weight.items()}
        for found in (walked(lattice, lattice.begin(word)), tabled(lattice, lattice.begin(word))):
            assert found.keys() == truth.keys()
            assert all(found[i] == pytest.approx(share, abs=1e-12) for i, share in truth.items())


@pytest.mark.parametrize("p", [0.0, 0.1, 0.7])
def test_walks_of_merges_are_as_likely_as_the_paper_says(models, p):
    scores = scores_of(processor_of(models["bpe"]))
    number = {piece: i for i, piece in enumerate(scores)}
    merge = MergeDropout(scores, p, number)
    truth = exact_bpe_dropout(tuple("▁horses"), scores, p)
    for found in (walked(merge, merge.begin("▁horses")), tabled(merge, merge.begin("▁horses"))):
        for pieces, share in truth.items():
            ids = tuple(number[piece] for piece in pieces)
            assert found.pop(ids, 0.0) == pytest.approx(share, abs=1e-12)
        assert not any(found.values())


def test_a_character_that_is_no_piece_is_never_left_over():
    """Merges that are dropped beside "q", which is no piece, are made all the same."""
    scores = {"qu": -1.0, "u": -3.0, "a": -4.0, "qua": -2.0}
    merge = MergeDropout(scores, 0.4, {piece: i for i, piece in enumerate(scores)})
    ends = walked(merge, merge.begin("qua"))
    # "qu" is made first with 0.6, and then "qua" with 0.6; dropping "qu" falls back to "qua".
    assert ends == pytest.approx({(3,): 0.36 + 0.4, (0, 2): 0.24})
    assert merge.begin("q") is None and merge.begin("aq") is None
    lattice = UnigramLattice(scores, 0.4, merge.id_of)
    assert lattice.begin("aq") is None and lattice.begin("aqu") == "aqu"


@pytest.mark.parametrize("name", ["bpe", "english"])
@pytest.mark.parametrize("p", [0.05, 0.1, 0.2, 0.3])
def test_bpe_dropout_leaves_as_many_tokens_as_the_algorithm_of_the_paper(models, name, p):
    sampler, processor = sampler_of(models[name], p), processor_of(models[name])
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
    assert ours == pytest.approx(paper, rel=0.025)
    assert paper > 1.02 * sum(map(len, plain))


@pytest.mark.parametrize(("kind", "strength"), [("unigram", 50.0), ("bpe", 1e-9)])
def test_without_noise_the_segmentation_is_that_of_sentencepiece(models, kind, strength):
    sampler = sampler_of(models[kind], strength)
    for line in toy_lines()[:200]:
        ids = stored(sampler, line)
        assert sampler.sample(ids, [1], distinct=False)[0].equal(ids)


@pytest.mark.parametrize("setting", ["suffix", "whole"])
def test_models_whose_pieces_lie_otherwise_about_spaces(tmp_path, setting):
    options = {
        "suffix": {"treat_whitespace_as_suffix": True},
        "whole": {"split_by_whitespace": False},
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(toy_lines()),
        model_prefix=str(tmp_path / "spm"),
        vocab_size=150,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options[setting],
    )
    sampler = sampler_of(tmp_path / "spm.model", 0.1)
    scores, line = sampler.model.scores, "the cats"
    across = {p for p in scores if "▁" in p.strip("▁")}
    assert bool(across) == (setting == "whole")
    surface = "the▁cats▁" if setting == "suffix" else "▁the▁cats"
    weight = {p: math.exp(0.1 * score) for p, score in segmentations(surface, scores).items()}
    probability = {pieces: value / sum(weight.values()) for pieces, value in weight.items()}
    require_same_distribution(draw(sampler, line, 3000), probability)
