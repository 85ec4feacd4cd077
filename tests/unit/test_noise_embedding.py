"""Noise of embeddings against its stated distributions and plain definitions."""

import struct

import pytest
import torch
from scipy import stats

from fairseq_bas.noise.embedding import (
    feature_cutoff,
    jitter,
    mix_weight,
    mix_with_partner,
    span_cutoff_mask,
    token_cutoff,
)
from fairseq_bas.noise.keyed import bits, mix, row_keys, uniform
from fairseq_bas.noise.words import positions


def keys_of(count):
    ids = torch.arange(count)
    return row_keys(1, "source_noise", 0, ids, torch.zeros_like(ids)).copy


def full(count, value):
    return torch.full((count,), float(value), dtype=torch.float64)


def test_token_cutoff_stops_values_and_gradients():
    embedding = torch.randn(2, 3, 4, requires_grad=True)
    hidden = torch.tensor([[True, False, False], [False, True, False]])
    out = token_cutoff(embedding, hidden)
    out.sum().backward()
    assert not out[hidden].any() and torch.equal(out[~hidden], embedding[~hidden])
    assert not embedding.grad[hidden].any() and embedding.grad[~hidden].eq(1).all()


def test_feature_cutoff_hides_whole_dimensions_at_its_rate():
    ones = torch.ones(500, 6, 40)
    cut = feature_cutoff(ones, keys_of(500), full(500, 0.15))
    assert torch.equal(cut[:, 0], cut[:, 5])  # all tokens of a row alike
    hidden = int(cut[:, 0].eq(0).sum())
    assert stats.binomtest(hidden, 500 * 40, 0.15).pvalue > 1e-3
    assert stats.chisquare(cut[:, 0].eq(0).sum(0)).pvalue > 1e-3
    assert torch.equal(feature_cutoff(ones, keys_of(500), full(500, 0)), ones)


@pytest.mark.parametrize(("length", "fraction", "span"), [(10, 0.3, 3), (9, 0.01, 1), (4, 0.9, 4)])
def test_span_has_its_length_and_a_uniform_start(length, fraction, span):
    editable = torch.zeros(6000, 14, dtype=torch.bool)
    editable[:, 2 : 2 + length] = True
    mask = span_cutoff_mask(editable, keys_of(6000), full(6000, fraction))
    assert mask.sum(1).eq(span).all() and not mask[~editable].any()
    start = mask.long().argmax(1) - 2
    assert all(
        row[s + 2 : s + 2 + span].all() for row, s in zip(mask[:200], start[:200], strict=True)
    )
    if length > span:
        assert stats.chisquare(torch.bincount(start, minlength=length - span + 1)).pvalue > 1e-3
    assert not span_cutoff_mask(editable, keys_of(6000), full(6000, 0)).any()


def test_jitter_is_uniform_noise_of_the_size_asked_for():
    embedding = torch.randn(60, 9, 30, dtype=torch.float64) * 5
    position = torch.arange(9).expand(60, 9)
    noise = jitter(embedding, position, keys_of(60), full(60, 0.2)) - embedding
    size = embedding.pow(2).mean(2, keepdim=True).sqrt()
    unit = (noise / size / 0.2 / 3**0.5).flatten()  # in (-1, 1)
    assert unit.abs().max() < 1
    assert stats.kstest(unit.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert unit.std().item() * 3**0.5 == pytest.approx(1, abs=0.02)
    table = torch.corrcoef((noise / size).flatten(0, 1).t()) - torch.eye(30)
    assert table.abs().max() < 0.25  # dimensions are independent (540 samples)
    assert torch.equal(jitter(embedding, position, keys_of(60), full(60, 0)), embedding)


def test_jitter_goes_with_the_place_in_the_sentence_not_in_the_batch():
    tokens = torch.tensor([[1, 1, 5, 6, 7]])
    other = torch.tensor([[5, 6, 7, 1]])
    table = torch.randn(8, 10, dtype=torch.float64)
    table[1] = 0
    results = []
    for batch in (tokens, other):
        padding = batch.eq(1)
        noisy = jitter(table[batch], positions(padding), keys_of(1), full(1, 0.3))
        assert not noisy[padding].any()
        results.append(noisy[~padding])
    assert torch.equal(*results)
    assert not torch.equal(results[0], table[[5, 6, 7]])


def test_jitter_passes_the_gradient_on_unchanged():
    embedding = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    jitter(embedding, torch.arange(3).expand(2, 3), keys_of(2), full(2, 0.5)).sum().backward()
    assert embedding.grad.eq(1).all()


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0, 4.0])
def test_mixing_weights_are_folded_beta(alpha):
    weight = mix_weight(keys_of(20_000), alpha)
    assert weight.min() >= 0.5 and weight.max() <= 1
    beta = stats.beta(alpha, alpha)
    assert stats.kstest(weight.numpy(), lambda x: beta.cdf(x) - beta.cdf(1 - x)).pvalue > 1e-3


def test_mixture_keeps_a_rows_own_embedding_where_the_partner_ends():
    embedding = torch.arange(12.0).view(2, 3, 2) + 1
    padding = torch.tensor([[False, False, False], [False, False, True]])
    weight = torch.tensor([0.75, 0.6])
    mixed = mix_with_partner(embedding, torch.tensor([1, 0]), weight, padding)
    torch.testing.assert_close(mixed[0, :2], 0.75 * embedding[0, :2] + 0.25 * embedding[1, :2])
    torch.testing.assert_close(mixed[0, 2], embedding[0, 2])
    torch.testing.assert_close(mixed[1, :2], 0.6 * embedding[1, :2] + 0.4 * embedding[0, :2])


def test_a_row_has_its_noise_in_any_order_and_company():
    count, length = 30, 7
    generator = torch.Generator().manual_seed(2)
    embedding = torch.randn(count, length, 6, generator=generator)
    position = torch.arange(length).expand(count, length)
    strength = torch.rand(count, dtype=torch.float64, generator=generator)
    some = torch.randperm(count, generator=generator)[:11]
    keys, editable = keys_of(count), torch.rand(count, length, generator=generator) < 0.8
    results = {
        "feature": lambda i: feature_cutoff(embedding[i], keys[i], strength[i]),
        "span": lambda i: span_cutoff_mask(editable[i], keys[i], strength[i]),
        "jitter": lambda i: jitter(embedding[i], position[i], keys[i], strength[i]),
        "mix": lambda i: mix_weight(keys[i], 0.3),
    }
    for name, result in results.items():
        assert torch.equal(result(torch.arange(count))[some], result(some)), name
        assert result(some).unique(dim=0).size(0) > 1, name


@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5, 0.8, 1.0])
def test_span_equals_a_plain_choice_around_protected_tokens_in_any_padding(fraction):
    kinds = ["wwwpwwwwp", "wp", "p", "wwwwwwwwwwwwwwwp", "pwpwpwp"]  # word, protected
    keys, place = keys_of(len(kinds)), {"w": True, "p": False, " ": False}
    masks = []
    for left_pad, extra in ((False, 0), (True, 0), (True, 4)):
        width = max(map(len, kinds)) + extra
        rows = [k.rjust(width) if left_pad else k.ljust(width) for k in kinds]
        editable = torch.tensor([[place[c] for c in row] for row in rows])
        mask = span_cutoff_mask(editable, keys, full(len(kinds), fraction))
        real = [[c != " " for c in row] for row in rows]
        masks.append([m[torch.tensor(r)].tolist() for m, r in zip(mask, real, strict=True)])
        assert not mask[~editable].any()
    assert masks[0] == masks[1] == masks[2]
    for row, kind in enumerate(kinds):
        words = [p for p, c in enumerate(kind) if c == "w"]
        span = min(max(round(fraction * len(words)), 1), len(words))
        start = int(uniform(keys, "span cutoff", 1)[row, 0].item() * (len(words) - span + 1))
        expected = words[start : start + span]
        assert [p for p, hidden in enumerate(masks[0][row]) if hidden] == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_jitter_keeps_its_distribution_in_every_precision(dtype):
    """Embeddings so small that their squares vanish in half precision."""
    size = 2.0**-14
    embedding = torch.full((80, 5, 50), size).to(dtype)
    position = torch.arange(5).expand(80, 5)
    noisy = jitter(embedding, position, keys_of(80), full(80, 8.0))
    assert noisy.dtype == dtype
    unit = ((noisy.double() - size) / (8 * size * 3**0.5)).flatten()
    assert unit.abs().max() <= 1.01
    assert unit.std().item() * 3**0.5 == pytest.approx(1, abs=0.02)
    # Uniform: standard error of the mean is 1 / sqrt(3 N), N = 20 000 numbers.
    assert abs(unit.mean().item()) < 4 / (3 * unit.numel()) ** 0.5
    assert stats.chisquare(torch.histc(unit.float(), 8, -1.0001, 1.0001)).pvalue > 1e-3
    # The noise is that of float64, rounded once (apart from rare double rounding by float32).
    exact = jitter(embedding.double(), position, keys_of(80), full(80, 8.0)) - embedding.double()
    rounded_once = embedding + exact.to(dtype)
    assert (noisy == rounded_once).double().mean() > (0.5 if dtype == torch.float32 else 0.999)


def test_jitter_numbers_are_16_bits_of_a_hash_around_zero():
    """Rebuild the numbers of a token from the bytes of its hashes."""
    keys, position = keys_of(3), torch.tensor([[0, 1], [0, 0], [4, 5]])
    ones = torch.ones(3, 2, 6, dtype=torch.float64)
    noise = jitter(ones, position, keys, full(3, 1.0)) - 1
    gamma = 0x9E3779B97F4A7C15 - 2**64
    for row in range(3):
        for column in range(2):
            token = mix(keys[row] ^ mix((position[row, column] + 1) * gamma))
            words = bits(token[None], "jitter", 2)[0].tolist()
            data = struct.pack("<2q", *words)
            expected = [(k + 0.5) * 3**0.5 / 2**15 for k in struct.unpack("<8h", data)[:6]]
            assert noise[row, column].tolist() == pytest.approx(expected, abs=1e-12)


def test_jitter_of_tokens_dimensions_and_rows_is_independent():
    """Chi-square over 8 x 8 cells of pairs of neighbours."""
    embedding = torch.ones(150, 12, 24, dtype=torch.float64)
    position = torch.arange(12).expand(150, 12)
    noise = jitter(embedding, position, keys_of(150), full(150, 1.0)) - 1
    pairs = {
        "dimension": (noise[..., ::2], noise[..., 1::2]),
        "position": (noise[:, ::2], noise[:, 1::2]),
        "row": (noise[::2], noise[1::2]),
    }
    for name, (one, other) in pairs.items():
        both = torch.stack([one.flatten(), other.flatten()], 1)
        table = torch.histogramdd(both, bins=[8, 8], range=[-1.74, 1.74] * 2).hist
        assert table.sum() == one.numel()
        assert stats.chisquare(table.flatten()).pvalue > 1e-3, name


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 3.0])
def test_mixing_weight_is_the_quantile_of_its_draw(alpha):
    draws = uniform(keys_of(500), "mix", 1)[:, 0]
    exact = stats.beta.ppf(0.5 + draws.numpy() / 2, alpha, alpha)
    weight = mix_weight(keys_of(500), alpha).numpy()
    between = stats.beta.cdf(weight, alpha, alpha) - (0.5 + draws.numpy() / 2)
    assert weight == pytest.approx(exact, abs=2e-2)
    assert abs(between[weight < 1 - 1e-9]).max() < 1 / 4095


def test_mixture_in_full_weight_and_by_a_plain_program():
    generator = torch.Generator().manual_seed(5)
    embedding = torch.randn(6, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    lengths, partner = [4, 1, 3, 2, 4, 1], [2, 0, 1, 5, 4, 3]
    weight = torch.rand(6, generator=generator, dtype=torch.float64)
    for left_pad in (False, True):
        column = torch.arange(4).expand(6, 4)
        padding = column >= torch.tensor(lengths)[:, None]
        padding = padding.flip(1) if left_pad else padding
        mixed = mix_with_partner(embedding, torch.tensor(partner), weight, padding)
        for row in range(6):
            for t in range(4):
                own, other = embedding[row, t], embedding[partner[row], t]
                ends = padding[row, t] or padding[partner[row], t]
                expected = own if ends else weight[row] * own + (1 - weight[row]) * other
                torch.testing.assert_close(mixed[row, t], expected)
        alone = mix_with_partner(embedding, torch.tensor(partner), torch.ones(6), padding)
        assert torch.equal(alone, embedding)
    mixed[2, 3].sum().backward()  # the padding is on the left: row 2 with its partner, row 1
    assert embedding.grad[2, 3].tolist() == pytest.approx([weight[2].item()] * 3)
    assert embedding.grad[1, 3].tolist() == pytest.approx([1 - weight[2].item()] * 3)
