"""Bigram noise: statistics counted by a plain program, rates and replacements by chi-square."""

import bisect
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from scipy import stats

from fairseq_bas.noise import bigram
from fairseq_bas.noise.bigram import bigram_noise, bigram_statistics
from fairseq_bas.noise.keyed import row_keys, uniform
from fairseq_bas.noise.replacement import cumulative_of, draw_symbols

PAD, EOS, V = 1, 2, 20
PROTECTED = torch.arange(V) < 4


def text(count=300):
    generator = torch.Generator().manual_seed(0)
    weights = 1.0 / torch.arange(1, 17)
    return [
        torch.cat([4 + torch.multinomial(weights, n, True, generator=generator), torch.tensor([2])])
        for n in torch.randint(1, 15, (count,), generator=generator).tolist()
    ]


@pytest.mark.parametrize("block", [50_000, 7])
def test_statistics_are_those_of_a_plain_count(monkeypatch, block):
    monkeypatch.setattr(bigram, "BLOCK", block)
    followed, after, before = Counter(), defaultdict(set), defaultdict(set)
    for sentence in text():
        for left, right in zip(sentence.tolist(), sentence.tolist()[1:], strict=False):
            followed[left] += 1
            after[left].add(right)
            before[right].add(left)
    ours = bigram_statistics(text(), V, PROTECTED)
    for symbol in range(V):
        expected = len(after[symbol]) / followed[symbol] if followed[symbol] else 0.0
        assert ours.discount[symbol].item() == pytest.approx(expected, abs=1e-12)
    proposal = [len(before[s]) * (s >= 4) for s in range(V)]
    steps = np.diff(ours.cumulative.numpy(), prepend=0.0)
    assert steps == pytest.approx(np.array(proposal) / sum(proposal), abs=1e-12)


def test_rate_and_replacement_follow_the_statistics():
    statistics = bigram_statistics(text(), V, PROTECTED)
    symbol, other = 5, 9
    row = torch.tensor([symbol] * 40 + [EOS])
    tokens = row.repeat(2000, 1)
    editable = tokens.ge(4)
    ids = torch.arange(2000)
    keys = row_keys(1, "target_noise", 0, ids, torch.zeros_like(ids)).copy
    gamma = torch.full((2000,), 0.6, dtype=torch.float64)
    noisy = bigram_noise(tokens, editable, tokens, keys, gamma, statistics, PAD)
    assert noisy[:, -1].eq(EOS).all()
    q = torch.diff(statistics.cumulative, prepend=torch.zeros(1).double())
    rate = 0.6 * statistics.discount[symbol].item()
    assert rate > 0.01
    shown = rate * (1 - q[symbol].item())  # a word replaced by itself does not show
    changed = int((noisy != tokens).sum())
    assert stats.binomtest(changed, 80_000, shown).pvalue > 1e-3
    into = torch.bincount(noisy[noisy != tokens], minlength=V).double()
    q[symbol] = 0
    keep = q > 0
    expected = q[keep] / q[keep].sum() * into.sum()
    assert into[~keep].sum() == 0
    assert stats.chisquare(into[keep], expected).pvalue > 1e-3
    # Labels go by the word before: the context decides, not the token.
    context = torch.full_like(tokens, other)
    labels = bigram_noise(tokens, editable, context, keys, gamma, statistics, PAD)
    rate = 0.6 * statistics.discount[other].item() * (1 - 0)
    drawn = int((labels != tokens).sum())
    chance = rate * (1 - torch.diff(statistics.cumulative)[symbol - 1].item())
    assert stats.binomtest(drawn, 80_000, chance).pvalue > 1e-3


def test_draws_never_give_a_symbol_without_frequency():
    frequency = torch.tensor([0, 3, 0, 0, 1, 0], dtype=torch.float64)
    cumulative = cumulative_of(frequency)
    edge = torch.tensor([0.0, 0.75 - 1e-16, 0.75, 1 - 2**-53], dtype=torch.float64)
    assert draw_symbols(edge, cumulative).tolist() == [1, 1, 4, 4]
    draws = torch.rand(40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    counts = torch.bincount(draw_symbols(draws, cumulative), minlength=6)
    assert counts[[0, 2, 3, 5]].sum() == 0
    assert stats.chisquare(counts[[1, 4]], [30_000, 10_000]).pvalue > 1e-3


def plain_bigram_noise(sentence, context, draws, gamma, statistics):
    """Resample one sentence, given the draws of its positions."""
    sums, discount = statistics.cumulative.tolist(), statistics.discount.tolist()
    return [
        bisect.bisect_right(sums, word) if token >= 4 and chance < gamma * discount[left] else token
        for token, left, chance, word in zip(sentence, context, *draws, strict=True)
    ]


@pytest.mark.parametrize("of_labels", [False, True])
def test_equals_the_plain_program_in_any_padding_order_and_company(of_labels):
    statistics = bigram_statistics(text(), V, PROTECTED)
    sentences = [s.tolist() for s in text()[:60]]
    contexts = [[EOS, *s[:-1]] if of_labels else s for s in sentences]
    keys = row_keys(2, "target_noise", 5, torch.arange(60), torch.zeros(60, dtype=torch.int64)).copy
    draws = [uniform(keys, name, 20) for name in ("bigram", "bigram symbol")]
    gamma = torch.linspace(0, 1, 60, dtype=torch.float64)
    expected = [
        plain_bigram_noise(
            sentences[i],
            contexts[i],
            [d[i, : len(sentences[i])].tolist() for d in draws],
            gamma[i].item(),
            statistics,
        )
        for i in range(60)
    ]
    assert expected[0] == sentences[0]  # gamma 0
    assert sum(a != b for a, b in zip(expected, sentences, strict=True)) > 10
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    for left_pad, chosen in ((False, torch.arange(60)), (True, order), (True, order[:5])):

        def padded(rows, left_pad=left_pad, chosen=chosen):
            width = 3 + max(len(rows[i]) for i in chosen)
            blank = [[PAD] * (width - len(rows[i])) for i in chosen]
            pairs = zip((rows[i] for i in chosen), blank, strict=True)
            return torch.tensor([b + r if left_pad else r + b for r, b in pairs])

        tokens = padded(sentences)
        noisy = bigram_noise(
            tokens,
            ~PROTECTED[tokens],
            padded(contexts),
            keys[chosen],
            gamma[chosen],
            statistics,
            PAD,
        )
        assert torch.equal(noisy, padded(expected))


def test_counts_memory_mapped_text_and_text_without_bigrams(tmp_path):
    np.concatenate([s.numpy() for s in text()]).astype(np.int32).tofile(tmp_path / "text")
    flat = np.memmap(tmp_path / "text", dtype=np.int32, mode="r")
    ends = np.cumsum([len(s) for s in text()])
    mapped = bigram_statistics(np.split(flat, ends[:-1]), V, PROTECTED)
    whole = bigram_statistics(text(), V, PROTECTED)
    assert torch.equal(mapped.discount, whole.discount)
    assert torch.equal(mapped.cumulative, whole.cumulative)
    for nothing in ([], [torch.tensor([EOS])], [torch.tensor([], dtype=torch.int64)]):
        empty = bigram_statistics(nothing, V, PROTECTED)
        assert not empty.discount.any()
        steps = torch.diff(empty.cumulative, prepend=torch.zeros(1).double())
        torch.testing.assert_close(steps, (~PROTECTED).double() / 16)


def test_ids_do_not_wrap_in_large_vocabularies():
    size = 100_000  # left * V + right exceeds 32 bits
    last = size - 1
    sentence = np.array([last, last - 1, last, last - 2], dtype=np.int32)
    statistics = bigram_statistics([sentence], size, torch.arange(size) < 4)
    assert statistics.discount.nonzero().flatten().tolist() == [last - 1, last]
    assert statistics.discount[[last - 1, last]].tolist() == [1.0, 1.0]
    drawn = draw_symbols(torch.tensor([0.0, 0.5, 0.99]).double(), statistics.cumulative)
    assert drawn.tolist() == [last - 2, last - 1, last]
