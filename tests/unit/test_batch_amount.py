"""Amounts and spans: what is read, what it is worth, what is refused; bounds, rounding and pace."""

import math

import pytest

from fairseq_bas.batching.amount import (
    Amount,
    BaseBatch,
    common_unit,
    parse_amount,
    parse_span,
)
from fairseq_bas.batching.bounds import Bounds, Pace, power_below
from fairseq_bas.config import Clock

BASE = BaseBatch(sentences=50, target_tokens=1250)


@pytest.mark.parametrize(
    ("text", "multiple", "written"),
    [
        ("4", 4.0, "4x"),
        ("4x", 4.0, "4x"),
        ("0.5x", 0.5, "0.5x"),
        ("256s", 5.12, "256s"),
        ("8kt", 6.4, "8kt"),
        ("0.125kt", 0.1, "0.125kt"),
        ("100000s", 2000.0, "100000s"),
    ],
)
def test_an_amount_is_a_multiple_of_the_base_batch(text, multiple, written):
    amount = parse_amount(text)
    assert amount.multiple(BASE) == pytest.approx(multiple, rel=1e-15)
    assert str(amount) == written and parse_amount(written) == amount


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "0", "0x", "0.0kt", "-1x", "+1x", "nan", "inf", "1e3x", "1_0x", "4 x", "4t"),
        *("4X", "٤x", "4x\n", ".5x", "9" * 400),
    ],
)
def test_anything_else_is_no_amount(text):
    with pytest.raises(ValueError, match="is not a number above 0 with a unit of x "):
        parse_amount(text)


@pytest.mark.parametrize(
    ("text", "elapsed"),
    [("8u", 1.5), ("5e", 0.5), ("300s", 1.0), ("2kt", 2.25), ("100u", 0.12)],
)
def test_a_span_elapses_with_its_own_clock(text, elapsed):
    clock = Clock(updates=12, epochs=2.5, sentences=300, target_tokens=4500)
    assert parse_span(text).elapsed(clock) == pytest.approx(elapsed, rel=1e-15)
    assert str(parse_span(text)) == text


@pytest.mark.parametrize("text", ["", "5", "0e", "-5e", "2.5e", "5x", "5t", "e", "5 e", "٥e"])
def test_anything_else_is_no_span(text):
    with pytest.raises(ValueError, match="is not a whole number of at least 1 with a unit of u "):
        parse_span(text)


def test_a_common_unit_is_kept_and_a_mixture_is_multiples():
    assert common_unit([Amount(1, "s"), Amount(2, "s")]) == "s"
    assert common_unit([Amount(1, "s"), Amount(2, "kt")]) == "x"
    assert common_unit([]) == "x"


@pytest.mark.parametrize("step", [2, 3, 10, 1.5])
def test_every_power_is_found_and_the_next_one_is_not(step):
    for exponent in range(-8, 16):
        power = float(step) ** exponent
        # The inverse of a decay that was itself multiplied up carries round-off.
        inverse = 1.0
        for _ in range(abs(exponent)):
            inverse *= 1 / step if exponent > 0 else step
        assert power_below(1 / inverse, step) == pytest.approx(power, rel=1e-12)
        assert power_below(power * 1.001, step) == pytest.approx(power, rel=1e-12)
        assert power_below(power * 0.999, step) == pytest.approx(power / step, rel=1e-12)


@pytest.mark.parametrize(
    ("bounds", "base", "wanted", "given"),
    [
        (Bounds(), BASE, 7.3, 7.3),
        (Bounds(Amount(2), Amount(8)), BASE, 1.0, 2.0),
        (Bounds(Amount(2), Amount(8)), BASE, 9.0, 8.0),
        (Bounds(Amount(100, "s"), Amount(10, "kt")), BASE, 9.0, 8.0),
        (Bounds(Amount(100, "s"), Amount(10, "kt")), BASE, 1.9, 2.0),
        # Powers of two times the base batch, rounded down; the limits have the last word.
        (Bounds(None, Amount(12), step=2), BASE, 7.9, 4.0),
        (Bounds(None, Amount(12), step=2), BASE, 100.0, 8.0),
        (Bounds(Amount(3), Amount(12), step=2), BASE, 3.5, 3.0),
        (Bounds(step=2), BASE, 0.7, 0.5),
        # A batch cannot be larger than an epoch, whatever is written.
        (Bounds(Amount(2), Amount(64)), BaseBatch(50, 1250, 20.5), 40.0, 20.5),
        (Bounds(Amount(32), Amount(64)), BaseBatch(50, 1250, 20.5), 1.0, 20.5),
        (Bounds(step=2), BaseBatch(50, 1250, 20.5), 40.0, 16.0),
    ],
)
def test_bounds(bounds, base, wanted, given):
    assert bounds.apply(wanted, base) == pytest.approx(given, rel=1e-15)
    assert bounds.apply(given, base) == pytest.approx(given, rel=1e-15)
    assert bounds.top(base) >= given


def test_bounds_of_different_units_are_compared_once_the_base_batch_is_known():
    bounds = Bounds(Amount(4), Amount(100, "s"))
    assert bounds.limits(BaseBatch(25, 700)) == (4.0, 4.0)
    with pytest.raises(ValueError) as refusal:
        bounds.limits(BASE)
    assert str(refusal.value) == (
        "--bas-batch-schedule: max=100s is 2x the plain batch of 50 sentences and 1250 target "
        "tokens, below the smallest batch of 4x; raise it"
    )


@pytest.mark.parametrize(
    ("pace", "current", "wanted", "following"),
    [
        (Pace(), 4.0, 4.01, 4.01),
        # Up and down by the same ratio: 4 * 1.25 and 4 / 1.25.
        (Pace(change=0.25), 4.0, 4.99, 4.0),
        (Pace(change=0.25), 4.0, 5.0, 5.0),
        (Pace(change=0.25), 4.0, 3.21, 4.0),
        (Pace(change=0.25), 4.0, 3.2, 3.2),
        (Pace(limit=1.5), 4.0, 100.0, 6.0),
        (Pace(limit=1.5), 4.0, math.inf, 6.0),
        (Pace(limit=2), 4.0, 0.0, 2.0),
        (Pace(), 4.0, math.inf, 16.0),
        (Pace(), 4.0, 0.0, 1.0),
        (Pace(monotone=True), 4.0, 3.0, 4.0),
        (Pace(monotone=True), 4.0, 5.0, 5.0),
    ],
)
def test_pace(pace, current, wanted, following):
    assert pace.follow(current, wanted, Bounds(Amount(1), Amount(16)), BASE) == following


def test_rounding_comes_before_hysteresis():
    bounds, pace = Bounds(Amount(1), Amount(16), step=2), Pace(change=0.5)
    assert pace.follow(4.0, 7.9, bounds, BASE) == 4.0
    assert pace.follow(4.0, 8.1, bounds, BASE) == 8.0
    assert pace.follow(4.0, 3.9, bounds, BASE) == 2.0
