"""Drawing symbols, against the inverse of the cumulative distribution found by bisection."""

import bisect
import itertools

import pytest
import torch
from scipy import stats

from fairseq_bas.noise.keyed import uniform
from fairseq_bas.noise.replacement import cumulative_of, draw_symbols

LAST = 1 - 2**-53
"""The greatest number that ``keyed.uniform`` can give."""


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_equals_bisection_in_plain_numbers():
    frequency = [0, 5, 0, 0, 1, 7, 3, 0, 11, 0]
    sums = [total / 27 for total in itertools.accumulate(frequency)]
    draws = uniform(torch.arange(40), "test", 50)
    expected = [[bisect.bisect_right(sums, u) for u in row] for row in draws.tolist()]
    symbols = draw_symbols(draws, cumulative_of(float64(*frequency)))
    assert symbols.dtype == torch.int64
    assert symbols.tolist() == expected


@pytest.mark.parametrize(
    ("frequency", "first", "last"),
    [
        ((0, 0, 2, 0, 1, 0, 0), 2, 4),
        ((3, 0), 0, 0),
        ((0, 1e-300, 0), 1, 1),
        ((1, *[0.1] * 50, 0), 0, 50),  # sums that are rounded
    ],
)
def test_ends_of_the_interval_give_the_first_and_last_symbol_there_is(frequency, first, last):
    cumulative = cumulative_of(float64(*frequency))
    assert draw_symbols(float64(0.0, LAST), cumulative).tolist() == [first, last]


def test_steps_belong_to_the_next_symbol_and_no_draw_hits_a_symbol_of_frequency_zero():
    frequency = float64(*([0, 1, 0, 2, 0] * 2000))
    cumulative = cumulative_of(frequency)
    steps = cumulative[cumulative < 1].unique()
    around = torch.cat([steps, torch.nextafter(steps, float64(0.0)).clamp(min=0)])
    symbols = draw_symbols(around, cumulative)
    assert frequency[symbols].min() > 0
    assert (symbols[: len(steps)] > draw_symbols(torch.zeros_like(steps), cumulative)).sum() > 0
    assert (cumulative[symbols[: len(steps)]] > steps).all()


def test_symbols_come_as_often_as_their_frequency_says():
    frequency = float64(0, 1, 5, 0, 10, 2, 0.5, 0)
    symbols = draw_symbols(uniform(torch.arange(500), "test", 80), cumulative_of(frequency))
    observed = torch.bincount(symbols.flatten(), minlength=8)
    there = frequency > 0
    assert observed[~there].sum() == 0
    expected = frequency[there] / frequency.sum() * symbols.numel()
    assert stats.chisquare(observed[there], expected).pvalue > 1e-3


def test_draws_may_have_any_strides():
    cumulative = cumulative_of(float64(1, 2, 3, 4))
    draws = uniform(torch.arange(6), "test", 5)
    assert torch.equal(draw_symbols(draws.t(), cumulative), draw_symbols(draws, cumulative).t())
