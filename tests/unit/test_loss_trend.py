"""The test for a rising loss, against the closed form of a Gaussian process and by properties."""

import math

import numpy as np
import pytest

from fairseq_bas.schedule.loss_trend import (
    fit_kernel,
    loss_trend,
    posterior,
    second_fall,
    sureness_of_rise,
)


def rbf(u, v):
    return np.exp(-((u[:, None] - v[None, :]) ** 2) / (2 * 0.2**2))


def noisy_curve(count, seed, noise=0.3):
    generator = np.random.default_rng(seed)
    x = np.sort(generator.random(count))
    return x, np.sin(5 * x) + noise * generator.standard_normal(count)


def log_likelihood(x, y, amplitude, noise):
    covariance = amplitude * rbf(x, x) + noise * np.eye(len(x))
    _, log_determinant = np.linalg.slogdet(covariance)
    return -0.5 * (y @ np.linalg.solve(covariance, y) + log_determinant)


@pytest.mark.parametrize("amplitude, noise", [(1.0, 0.1), (7.0, 1e-3)])
def test_posterior_is_the_closed_form(amplitude, noise):
    x, y = noisy_curve(60, 1)
    grid = np.linspace(0, 1, 23)
    gain = amplitude * rbf(grid, x) @ np.linalg.inv(amplitude * rbf(x, x) + noise * np.eye(60))
    mean, covariance = posterior(x, y, grid, amplitude, noise)
    np.testing.assert_allclose(mean, gain @ y, rtol=0, atol=1e-8)
    expected = amplitude * rbf(grid, grid) - gain @ (amplitude * rbf(x, grid))
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-8)


def test_fitted_variances_are_the_likeliest():
    x, y = noisy_curve(100, 2)
    best = log_likelihood(x, y, *fit_kernel(x, y))
    tried = [(a, b) for a in np.geomspace(1e-2, 100, 41) for b in np.geomspace(1e-3, 3, 41)]
    assert best >= max(log_likelihood(x, y, *pair) for pair in tried)
    assert fit_kernel(x, y)[1] == pytest.approx(0.09, rel=0.4)


def test_sureness_is_a_marginal_probability_of_the_curves():
    x, y = noisy_curve(40, 3)
    grid = np.linspace(0, 1, 15)
    mean, covariance = posterior(x, y, grid, 1.0, 0.5)
    # Room for the jitter, which is of the difference: half on each of two values.
    curves = np.random.default_rng(0).multivariate_normal(
        mean, covariance + 5e-5 * np.eye(15), 200_000
    )
    lower = (curves[:, :-1] < curves[:, -1:]).mean(axis=0)
    expected = sureness_of_rise(mean, covariance)
    assert 0.6 < expected < 0.999
    assert lower.max() == pytest.approx(expected, abs=5e-3)


def losses(seed, count=400, lowest=250.0, rise=1.0):
    """Return a parabola in the step, in nats: 1 above its minimum at step 0, with noise."""
    steps = np.arange(count)
    noise = 0.2 * np.random.default_rng(seed).standard_normal(count)
    rising = np.where(steps > lowest, rise, 1.0)
    return steps, 4 + rising * ((steps - lowest) / 250) ** 2 + noise


@pytest.mark.parametrize("seed", range(3))
def test_votes_once_the_loss_has_risen_and_finds_where_it_was_lowest(seed):
    steps, values = losses(seed)
    trend = loss_trend(steps, values, (seed,))
    assert trend.votes == 5
    assert np.mean(trend.argmins) == pytest.approx(250, abs=25)
    before = loss_trend(steps[:240], values[:240], (seed,))
    assert not before.passed_minimum
    assert np.mean(before.argmins) > 200


def two_falls(seed, second, count=400, noise=0.05):
    """Return losses that fall fast twice, at 15 % and at a given share of the steps."""
    steps = np.arange(count)
    share = steps / count
    speed = sum(
        size * np.exp(-(((share - place) / width) ** 2))
        for size, place, width in ((6, 0.15, 0.1), (4, second, 0.15))
    )
    values = 12 - np.cumsum(speed) / count
    return steps, values + noise * np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("second", [0.6, 0.75])
def test_finds_the_second_fast_fall_of_a_loss_that_never_rises(second, seed):
    steps, values = two_falls(seed, second)
    trend = loss_trend(steps, values, (seed,))
    assert trend.fell_twice and not trend.passed_minimum
    assert np.mean(trend.falls) == pytest.approx(400 * second, abs=25)
    assert np.mean(trend.argmins) > 380


def test_a_loss_that_falls_once_has_no_second_fall():
    steps, values = two_falls(1, 0.15)
    assert not loss_trend(steps, values).fell_twice


def test_a_fall_that_still_gets_faster_is_at_the_end():
    curve = -np.cumsum([1, 5, 2, 1, 2, 3, 4.0])
    assert second_fall(curve) == len(curve) - 1


def test_what_follows_the_minimum_is_no_fall():
    curve = -np.cumsum([1, 5, 1, 0.5, 3, 4, 1, -9, 3, 1])
    assert second_fall(curve) == 4


def test_neither_unit_of_the_loss_nor_of_the_steps_matters():
    steps, values = losses(1)
    one = loss_trend(steps, values)
    other = loss_trend(1000 + 3 * steps, 50 * values - 7)
    assert other.votes == one.votes
    np.testing.assert_allclose(other.argmins, 1000 + 3 * np.array(one.argmins), rtol=1e-3)


def test_losses_that_are_not_finite_are_left_out():
    steps, values = losses(1, 60)
    spoilt = values.copy()
    spoilt[[3, 30, 59]] = math.nan, math.inf, -math.inf
    kept = np.isfinite(spoilt)
    assert loss_trend(steps, spoilt) == loss_trend(steps[kept], values[kept])


def test_a_constant_loss_does_not_rise():
    assert loss_trend(range(50), [3.0] * 50).votes == 0


def test_only_the_key_decides_the_choice_of_losses():
    steps, values = losses(4, 2000, 1500)
    np.random.seed(1)
    first = loss_trend(steps, values, (5, 100))
    np.random.seed(2)
    assert loss_trend(steps, values, (5, 100)) == first
    assert loss_trend(steps, values, (5, 150)).argmins != first.argmins
    assert len(set(first.argmins)) > 1  # the curves go through different losses


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan]])
def test_too_few_losses_are_refused(values):
    with pytest.raises(ValueError, match="no trend"):
        loss_trend(range(len(values)), values)
