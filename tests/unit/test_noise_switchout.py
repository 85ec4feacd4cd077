"""SwitchOut: the number, the places and the words of its replacements."""

import math

import pytest
import torch
from scipy import stats

from fairseq_bas.noise.keyed import row_keys
from fairseq_bas.noise.switchout import draw_number, switchout
from fairseq_bas.noise.vocabulary import vocabulary_of

SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(12)), "__en__", "z"]
VOCABULARY = vocabulary_of(SYMBOLS, [1] * len(SYMBOLS), 4, 1, 3)


def rows(count, length):
    """Return tokens (R, T): a tag, ``length`` words and </s>, and which are editable."""
    words = 4 + torch.arange(length) % 12
    row = torch.cat([torch.tensor([16]), words, torch.tensor([2])])
    tokens = row.repeat(count, 1)
    return tokens, ~VOCABULARY.protected[tokens]


def apply(tokens, editable, temperature, seed=1):
    ids = torch.arange(len(tokens))
    keys = row_keys(seed, "source_noise", 0, ids, torch.zeros_like(ids)).copy
    strength = torch.full((len(tokens),), float(temperature), dtype=torch.float64)
    return switchout(tokens, editable, keys, strength, VOCABULARY)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_number_of_replacements_has_the_published_distribution(temperature):
    """p(n) = exp(-n / tau) / Z for n = 0 .. L, by chi-square."""
    length, count = 8, 20_000
    tokens, editable = rows(count, length)
    changed = (apply(tokens, editable, temperature) != tokens).sum(1)
    weights = torch.tensor([math.exp(-n / temperature) for n in range(length + 1)]).double()
    expected = weights / weights.sum() * count
    observed = torch.bincount(changed, minlength=length + 1).double()
    often = expected > 5
    observed = torch.cat([observed[often], observed[~often].sum()[None]])
    expected = torch.cat([expected[often], expected[~often].sum()[None]])
    keep = expected > 0
    assert stats.chisquare(observed[keep], expected[keep]).pvalue > 1e-3


def test_numbers_by_exact_inversion():
    """Compare with the smallest n whose summed probability exceeds the draw."""
    draws = torch.rand(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for largest in (0, 1, 5, 30):
        for temperature in (0.3, 2.0, 50.0):
            weights = [math.exp(-n / temperature) for n in range(largest + 1)]
            sums = torch.tensor(weights, dtype=torch.float64).cumsum(0) / sum(weights)
            expected = torch.searchsorted(sums, draws, right=True).clamp(max=largest)
            limit = torch.full((2000,), largest)
            ours = draw_number(draws, limit, torch.full((2000,), temperature).double())
            assert (ours == expected).double().mean() > 0.999
            assert ours.max() <= largest and ours.min() >= 0


def test_places_and_words_are_uniform_and_protected_symbols_stay():
    tokens, editable = rows(30_000, 10)
    changed = apply(tokens, editable, 2.0)
    where = changed != tokens
    assert not where[~editable].any()
    assert not VOCABULARY.protected[changed[where]].any()
    assert stats.chisquare(where.sum(0)[1:-1]).pvalue > 1e-3
    into = torch.bincount(changed[where & tokens.eq(6)], minlength=len(SYMBOLS))
    others = [i for i in range(len(SYMBOLS)) if not VOCABULARY.protected[i] and i != 6]
    assert into.sum() == into[others].sum()
    assert stats.chisquare(into[others]).pvalue > 1e-3


def test_no_temperature_changes_nothing_and_a_high_one_all_numbers():
    tokens, editable = rows(4000, 6)
    assert torch.equal(apply(tokens, editable, 0.0), tokens)
    counts = (apply(tokens, editable, 1e9) != tokens).sum(1)
    assert stats.chisquare(torch.bincount(counts, minlength=7)).pvalue > 1e-3
