"""Locked, word-type and weight dropout: what is dropped together, and how often."""

import pytest
import torch

from fairseq_bas.nn.locked_dropout import locked_dropout
from fairseq_bas.nn.random_mask import random_mask
from fairseq_bas.nn.weight_drop import drop_weights
from fairseq_bas.nn.word_dropout import word_dropout


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def dropped_share(x):
    return (x == 0).double().mean().item()


def test_locked_dropout_is_one_mask_for_all_time_steps():
    torch.manual_seed(1)
    x = torch.randn(7, 4, 500).abs() + 0.1
    factor = locked_dropout(x, 0.4) / x
    assert torch.equal(factor == 0, (factor[:1] == 0).expand_as(factor))
    torch.testing.assert_close(factor[factor != 0], torch.full_like(factor, 1 / 0.6)[factor != 0])
    assert dropped_share(factor[0]) == pytest.approx(0.4, abs=0.04)
    assert not torch.equal(factor[0, 0], factor[0, 1])  # rows differ


def test_locked_dropout_gradient_is_masked_alike():
    x = torch.ones(3, 2, 50, requires_grad=True)
    y = locked_dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_word_dropout_equals_dropout_of_embedding_rows():
    vocabulary, tokens = 200, torch.randint(200, (4, 300), generator=seeded())
    table = torch.randn(vocabulary, 3, generator=seeded()).abs() + 0.1
    dropped = word_dropout(table[tokens], tokens, vocabulary, 0.3, generator=seeded())
    masked = torch.zeros(vocabulary, 3).index_copy_(0, tokens.flatten(), dropped.flatten(0, 1))
    assert torch.equal(masked[tokens], dropped)  # one mask of the table explains all
    seen = tokens.unique()
    factor = masked[seen] / table[seen]
    assert torch.equal(factor == 0, (factor[:, :1] == 0).expand_as(factor))
    torch.testing.assert_close(factor[factor != 0].mean(), torch.tensor(1 / 0.7))
    assert dropped_share(factor) == pytest.approx(0.3, abs=0.1)


def test_word_dropout_groups_are_rows_modulo_groups():
    tokens = torch.arange(100).expand(6, 100)
    dropped = word_dropout(torch.ones(6, 100, 1), tokens, 100, 0.5, 3, seeded()).squeeze(-1)
    assert torch.equal(dropped[:3], dropped[3:])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(dropped[one], dropped[other])


def test_weight_drop_is_by_element_and_scaled():
    weight = torch.ones(200, 100, requires_grad=True)
    dropped = drop_weights(weight, 0.3, seeded())
    assert dropped_share(dropped) == pytest.approx(0.3, abs=0.02)
    assert dropped[dropped != 0].unique().item() == pytest.approx(1 / 0.7)
    dropped.sum().backward()
    assert torch.equal(weight.grad, dropped.detach())
    assert dropped.dtype == weight.dtype and drop_weights(weight.half(), 0.3).dtype == torch.half


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 0.95])
def test_random_mask_has_independent_elements_at_the_rate(rate):
    mask = random_mask((300, 1001), rate, generator=seeded()).double()
    deviation = (rate * (1 - rate) / mask.numel()) ** 0.5
    assert abs(mask.mean().item() - rate) <= 4 * deviation
    if rate:
        centred = (mask - rate).flatten()
        bound = 4 * rate * (1 - rate) / mask.numel() ** 0.5
        for lag in (1, 2, 3, 4, 8):  # four elements come from one draw
            assert abs((centred[lag:] * centred[:-lag]).mean().item()) < bound


def test_generator_alone_decides_masks():
    weight, tokens = torch.ones(40, 40), torch.arange(40)[None]

    def draw(seed):
        generator = seeded(seed)
        words = word_dropout(torch.ones(1, 40, 2), tokens, 40, 0.5, generator=generator)
        return torch.cat([words.flatten(), drop_weights(weight, 0.5, generator).flatten()])

    torch.manual_seed(1)
    state, first = torch.get_rng_state(), draw(5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(draw(5), first)
    assert not torch.equal(draw(6), first)


def test_evaluation_and_rate_zero_change_nothing():
    x, tokens = torch.randn(3, 2, 4), torch.zeros(3, 2, dtype=torch.int64)
    assert locked_dropout(x, 0.5, training=False) is x and locked_dropout(x, 0.0) is x
    assert word_dropout(x, tokens, 5, 0.5, training=False) is x
    assert drop_weights(x, 0.0) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rates_out_of_range_are_refused(rate):
    x = torch.ones(2, 2, 2)
    for drop in (
        lambda: locked_dropout(x, rate),
        lambda: word_dropout(x, torch.zeros(2, 2, dtype=torch.int64), 3, rate),
        lambda: drop_weights(x, rate),
    ):
        with pytest.raises(ValueError, match="give a probability"):
            drop()
