"""SwitchOut: the number, the places and the words of its replacements."""

import math

import pytest
import torch
from scipy import stats

from fairseq_bas.noise.keyed import row_keys, uniform
from fairseq_bas.noise.switchout import draw_number, other_symbol, switchout
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
    # The greatest draw there is: rounding must not lead beyond the number of tokens.
    every, last = torch.arange(200), torch.full((200,), 1 - 2**-53, dtype=torch.float64)
    assert torch.equal(draw_number(last, every, torch.full((200,), 50.0).double()), every)


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


def plain_switchout(sentence, draws, temperature):
    """Replace tokens of one sentence, given the draws of its positions, symbol by symbol."""
    places = [p for p, token in enumerate(sentence) if not VOCABULARY.protected[token]]
    weights = [math.exp(-n / temperature) for n in range(len(places) + 1)]
    number, total = 0, weights[0]
    while total / sum(weights) <= draws["number"][0]:
        number, total = number + 1, total + weights[number + 1]
    result = list(sentence)
    for place in sorted(places, key=lambda p: draws["position"][p])[:number]:
        others = [
            symbol
            for symbol in range(len(SYMBOLS))
            if not VOCABULARY.protected[symbol] and symbol != sentence[place]
        ]
        result[place] = others[int(draws["symbol"][place] * len(others))]
    return result


def padded(sentences, left_pad, extra):
    width = max(map(len, sentences)) + extra
    blank = [[1] * (width - len(s)) for s in sentences]
    pairs = zip(sentences, blank, strict=True)
    return torch.tensor([b + s if left_pad else s + b for s, b in pairs])


def test_equals_the_plain_program_in_any_padding_order_and_company():
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(0, 12, (80,), generator=generator).tolist()
    # Ids from 3 on: words, and among them <unk> and the tag, which stay.
    drawn = [torch.randint(3, len(SYMBOLS), (n,), generator=generator).tolist() for n in lengths]
    sentences = [[*words, 2] for words in drawn]
    keys = row_keys(4, "source_noise", 8, torch.arange(80), torch.zeros(80, dtype=torch.int64)).copy
    draws = {
        name: uniform(keys, f"switchout {name}", 13).tolist()
        for name in ("number", "position", "symbol")
    }
    expected = [
        plain_switchout(sentence, {name: draws[name][row] for name in draws}, 3.0)
        for row, sentence in enumerate(sentences)
    ]
    assert expected != sentences
    order = torch.randperm(80, generator=generator)
    for left_pad, extra, chosen in (
        (False, 0, torch.arange(80)),
        (True, 0, order),
        (True, 5, order[:7]),
        (False, 9, order[7:8]),
    ):
        tokens = padded([sentences[i] for i in chosen], left_pad, extra)
        given, temperature = tokens.clone(), torch.full((len(chosen),), 3.0).double()
        editable = ~VOCABULARY.protected[tokens]
        noisy = switchout(tokens, editable, keys[chosen], temperature, VOCABULARY)
        assert torch.equal(tokens, given)
        assert torch.equal(noisy, padded([expected[i] for i in chosen], left_pad, extra))


def test_rows_have_their_own_temperature():
    tokens, editable = rows(3000, 8)
    temperature = torch.tensor([0.0, 0.5, 5.0]).double().repeat(1000)
    ids = torch.arange(3000)
    keys = row_keys(1, "source_noise", 0, ids, torch.zeros_like(ids)).copy
    changed = (switchout(tokens, editable, keys, temperature, VOCABULARY) != tokens).sum(1)
    for part, tau in enumerate((0.0, 0.5, 5.0)):
        weights = [math.exp(-n / tau) if tau else float(n == 0) for n in range(9)]
        mean = sum(n * w for n, w in enumerate(weights)) / sum(weights)
        assert changed[part::3].double().mean().item() == pytest.approx(mean, abs=0.25)


def test_a_token_that_noise_has_hidden_gets_any_word_alike():
    """<unk> in the place of an editable word is no candidate itself, and excludes none."""
    words = [i for i in range(len(SYMBOLS)) if not VOCABULARY.protected[i]]
    draws = (torch.arange(len(words)).double() + 0.5) / len(words)
    hidden = torch.full((len(words),), 3)
    assert other_symbol(hidden, draws, VOCABULARY.protected).tolist() == words
    for word in words:
        draws = (torch.arange(len(words) - 1).double() + 0.5) / (len(words) - 1)
        others = other_symbol(torch.full_like(hidden[1:], word), draws, VOCABULARY.protected)
        assert others.tolist() == [w for w in words if w != word]


@pytest.mark.parametrize("num_words", [0, 1])
def test_without_another_word_tokens_stay(num_words):
    protected = torch.tensor([True] * 4 + [False] * num_words)
    tokens = torch.arange(4, 4 + num_words).repeat(5)
    draws = torch.linspace(0, 1 - 2**-53, len(tokens), dtype=torch.float64)
    assert torch.equal(other_symbol(tokens, draws, protected), tokens)
