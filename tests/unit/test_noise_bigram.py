"""Bigram noise: statistics counted by a plain program, rates and replacements by chi-square."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from scipy import stats

from fairseq_bas.noise import bigram
from fairseq_bas.noise.bigram import bigram_noise, bigram_statistics
from fairseq_bas.noise.keyed import row_keys
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
