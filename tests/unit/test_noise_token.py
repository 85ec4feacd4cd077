"""Drop, mask, replace and shuffle against a plain program that handles one sentence at a time."""

import bisect
import itertools

import pytest
import torch
from scipy import stats

from fairseq_bas.noise.keyed import row_keys, uniform
from fairseq_bas.noise.pipeline import NoisePipeline
from fairseq_bas.noise.policy import Variation, parse_noise
from fairseq_bas.noise.vocabulary import vocabulary_of

PAD, EOS, UNK = 1, 2, 3
SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>"] + [
    ("\u2581" if i % 3 else "") + f"w{i}" for i in range(60)
]
COUNTS = [1] * 4 + [1 + i % 7 for i in range(60)]
VOCABULARY = vocabulary_of(SYMBOLS, COUNTS, 4, PAD, UNK)


def batch(num_sentences, replicas, left_pad, seed=0, longest=30, extra_padding=0):
    """Return sentences (lists of ids), rows (R, T), and the rows' ids and replica numbers."""
    generator = torch.Generator().manual_seed(seed)
    sentences = [
        [int(t) for t in torch.randint(4, 64, (n,), generator=generator)] + [EOS]
        for n in torch.randint(1, longest, (num_sentences,), generator=generator)
    ]
    rows = [sentence for sentence in sentences for _ in range(replicas)]
    width = max(map(len, rows)) + extra_padding
    blank = [[PAD] * (width - len(row)) for row in rows]
    padded = [b + r if left_pad else r + b for r, b in zip(rows, blank, strict=True)]
    ids = torch.arange(num_sentences).repeat_interleave(replicas)
    return rows, torch.tensor(padded), ids, torch.arange(replicas).repeat(num_sentences)


def words(sentence):
    """Return lists of positions, one for each word; EOS and other specials stand alone."""
    result = []
    for position, token in enumerate(sentence):
        starts = SYMBOLS[token].startswith("\u2581") or token < 4
        if not result or starts or sentence[position - 1] < 4:
            result.append([])
        result[-1].append(position)
    return result


def plain_noise(sentence, policy, draws, offset=0.0):
    """Apply drop, mask, replace and shuffle to one sentence with given draws."""
    frequency = [0.0] * 4 + [float(c) for c in COUNTS[4:]]
    cumulative = list(itertools.accumulate(f / sum(frequency) for f in frequency))
    kept, spans = [], words(sentence)
    hide = [(draws["hide"][i] - offset) % 1.0 for i in range(len(spans))]
    drop, mask, replace = (policy[name] for name in ("drop", "mask", "replace"))
    for number, span in enumerate(spans):
        tokens = [sentence[p] for p in span]
        if tokens[0] >= 4:
            if hide[number] < drop:
                continue
            if hide[number] < drop + mask:
                tokens = [UNK] * len(tokens)
            elif hide[number] < drop + mask + replace:
                tokens = [bisect.bisect_right(cumulative, draws["replace"][p]) for p in span]
        kept.append((number, tokens))
    if not any(sentence[spans[number][0]] >= 4 for number, _ in kept):
        best = max(
            (n for n in range(len(spans)) if sentence[spans[n][0]] >= 4), key=lambda n: hide[n]
        )
        kept = sorted([(best, [sentence[p] for p in spans[best]]), *kept])
    if policy["shuffle"]:
        scores = [i + draws["shuffle"][i] * (policy["shuffle"] + 1) for i in range(len(spans) - 1)]
        kept = sorted(kept[:-1], key=lambda word: scores[word[0]]) + kept[-1:]
    return [token for _, tokens in kept for token in tokens]


def unpadded(rows):
    return [[int(t) for t in row if t != PAD] for row in rows]


@pytest.mark.parametrize("left_pad", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "drop=0.3",
        "mask=0.3",
        "replace=0.3",
        "drop=0.2,replace=0.3",
        "drop=0.9",
        "shuffle=3",
        "drop=0.2,shuffle=2",
    ],
)
def test_equals_the_plain_program_on_the_same_draws(text, left_pad):
    policy = parse_noise(text, "--bas-source-noise", "source")
    rows, padded, ids, replicas = batch(40, 3, left_pad)
    keys = row_keys(5, "source_noise", 11, ids, replicas)
    noisy = NoisePipeline(policy, VOCABULARY).tokens(padded, keys, 3, left_pad).tokens
    width = padded.size(1)
    draws = {name: uniform(keys.copy, name, width) for name in ("hide", "replace", "shuffle")}
    for row, (sentence, result) in enumerate(zip(rows, unpadded(noisy), strict=True)):
        expected = plain_noise(sentence, policy, {k: v[row].tolist() for k, v in draws.items()})
        assert result == expected
    lengths = noisy.ne(PAD).sum(1)
    assert noisy.size(1) == lengths.max()
    padding_first = noisy[:, 0].eq(PAD) | lengths.eq(noisy.size(1))
    assert bool(padding_first.all()) == left_pad or not left_pad


def test_noise_does_not_depend_on_padding_order_or_company():
    policy = parse_noise("drop=0.2,mask=0.1,replace=0.1,shuffle=3,switchout=1", "f", "source")
    pipeline = NoisePipeline(policy, VOCABULARY)
    results = []
    for left_pad, extra in ((False, 0), (True, 0), (True, 7)):
        _, padded, ids, replicas = batch(20, 2, left_pad, extra_padding=extra)
        keys = row_keys(5, "source_noise", 11, ids, replicas)
        results.append(unpadded(pipeline.tokens(padded, keys, 2, left_pad).tokens))
    assert results[0] == results[1] == results[2]
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))[:9]
    some = pipeline.tokens(padded[order], keys.index_select(order), 2, True).tokens
    assert unpadded(some) == [results[0][i] for i in order]


def test_rates_are_those_asked_for():
    policy = parse_noise("drop=0.15,mask=0.1,replace=0.2", "f", "source")
    rows, padded, ids, replicas = batch(600, 2, False, longest=40)
    keys = row_keys(1, "source_noise", 0, ids, replicas)
    only = {
        name: NoisePipeline(parse_noise(f"{name}={policy[name]}", "f", "source"), VOCABULARY)
        for name in policy.values
    }
    num_words = sum(len(words(row)) - 1 for row in rows if len(words(row)) > 8)
    long_rows = [i for i, row in enumerate(rows) if len(words(row)) > 8]  # none loses all words
    chosen = torch.tensor(long_rows)
    tokens = padded[chosen]
    masked = only["mask"].tokens(tokens, keys.index_select(chosen), 2, False).tokens
    dropped = only["drop"].tokens(tokens, keys.index_select(chosen), 2, False).tokens
    hits = {
        "mask": sum(row[w[0]] == UNK for row in unpadded(masked) for w in words(row) if w),
        "drop": num_words - sum(len(words(row)) - 1 for row in unpadded(dropped)),
    }
    masked_words = sum(
        any(a != b for a, b in zip(old, new, strict=True))
        for before, after in zip(tokens.tolist(), masked.tolist(), strict=True)
        for span in words([t for t in before if t != PAD])
        for old, new in [([before[p] for p in span], [after[p] for p in span])]
    )
    for name, count in (("mask", masked_words), ("drop", hits["drop"])):
        assert stats.binomtest(count, num_words, policy[name]).pvalue > 1e-3, name


def test_replacements_follow_the_unigram_frequency():
    policy = parse_noise("replace=0.9", "f", "source")
    _, padded, ids, replicas = batch(800, 4, False)
    keys = row_keys(3, "source_noise", 2, ids, replicas)
    noisy = NoisePipeline(policy, VOCABULARY).tokens(padded, keys, 4, False).tokens
    changed = noisy[(noisy != padded)]
    assert not (changed < 4).any()
    # A draw that equals the old token does not show, so compare within one old token.
    old = 10
    drawn = noisy[(padded == old) & (noisy != old)]
    observed = torch.bincount(drawn, minlength=64)[4:].double()
    expected = torch.tensor(COUNTS[4:], dtype=torch.float64)
    expected[old - 4] = 0
    keep = expected > 0
    expected = expected[keep] / expected[keep].sum() * observed.sum()
    assert stats.chisquare(observed[keep], expected).pvalue > 1e-3


def test_shuffle_reaches_its_distance_and_not_more():
    sentence = [5 + 3 * (i % 2) + i // 2 * 0 for i in range(40)]
    sentence = [4 + (1 + i % 2) + 3 * (i // 2 % 19) for i in range(38)] + [EOS]
    padded = torch.tensor([sentence] * 500)
    keys = row_keys(1, "source_noise", 0, torch.arange(500), torch.zeros(500, dtype=torch.int64))
    for distance in (1, 3, 5):
        policy = parse_noise(f"shuffle={distance}", "f", "source")
        noisy = NoisePipeline(policy, VOCABULARY).tokens(padded, keys, 1, False).tokens
        moves = [abs(row.index(t) - sentence.index(t)) for row in noisy.tolist() for t in row]
        assert max(moves) == distance
        assert noisy[:, -1].eq(EOS).all()


def test_protected_tokens_are_barriers():
    symbols = [*SYMBOLS, "__en__"]
    vocabulary = vocabulary_of(symbols, [*COUNTS, 9], 4, PAD, UNK)
    tag = len(symbols) - 1
    text = [tag, *range(5, 25), UNK, *range(25, 45), EOS]
    padded = torch.tensor([text] * 50)
    keys = row_keys(1, "source_noise", 0, torch.arange(50), torch.zeros(50, dtype=torch.int64))
    policy = parse_noise("mask=0.3,replace=0.3,shuffle=9,switchout=20", "f", "source")
    noisy = NoisePipeline(policy, vocabulary).tokens(padded, keys, 1, False).tokens
    for position in (0, 21, 42):
        assert noisy[:, position].eq(text[position]).all()
    assert not noisy.eq(tag)[:, 1:].any()
    only = NoisePipeline(parse_noise("shuffle=9", "f", "source"), vocabulary)
    shuffled = only.tokens(padded, keys, 1, False).tokens
    assert (shuffled != padded).any()
    assert shuffled[:, 1:21].sort(1).values.tolist() == [sorted(text[1:21])] * 50


@pytest.mark.parametrize("graded", [False, True])
def test_complementary_copies_hide_a_word_once_at_most(graded):
    policy = parse_noise("mask=0.1,replace=0.08,cutoff=0.07", "f", "source")
    variation = Variation(graded=graded, complementary=True)
    _, padded, ids, replicas = batch(200, 4, False)
    keys = row_keys(1, "source_noise", 0, ids, replicas)
    pipeline = NoisePipeline(policy, VOCABULARY, variation)
    noisy = pipeline.tokens(padded, keys, 4, False)
    hidden = ((noisy.tokens != padded) | noisy.cut).unflatten(0, (-1, 4)).sum(1)
    assert hidden.max() == 1
    # And every copy has its own share: 0.25 of the words in all four together.
    independent = NoisePipeline(policy, VOCABULARY, Variation(graded=graded))
    other = independent.tokens(padded, keys, 4, False)
    assert ((other.tokens != padded) | other.cut).unflatten(0, (-1, 4)).sum(1).max() > 1
    for copy, strength in enumerate(variation.strengths(4)):
        rows, count = padded[copy::4], 0
        editable = rows.ge(4)
        hits = (noisy.tokens[copy::4].ne(rows) | noisy.cut[copy::4]) & editable
        count = int(hits.sum())
        share = count / int(editable.sum())
        assert share == pytest.approx(0.25 * strength, abs=0.03)


def test_clean_copy_is_untouched_and_graded_noise_rises():
    policy = parse_noise("mask=0.3,switchout=1,shuffle=3", "f", "source")
    _, padded, ids, replicas = batch(200, 4, True)
    keys = row_keys(1, "source_noise", 0, ids, replicas)
    variation = Variation(clean=True, graded=True)
    noisy = NoisePipeline(policy, VOCABULARY, variation).tokens(padded, keys, 4, True).tokens
    changed = [(noisy[m::4] != padded[m::4]).float().mean().item() for m in range(4)]
    assert changed[0] == 0
    assert changed[0] < changed[1] < changed[2] < changed[3]
