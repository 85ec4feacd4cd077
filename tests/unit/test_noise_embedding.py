"""Noise of embeddings against its stated distributions and plain definitions."""

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
from fairseq_bas.noise.keyed import row_keys
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
