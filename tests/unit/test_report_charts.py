"""Thinning, scales and SVG against brute force and a strict XML parser."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from fairseq_bas.report.chart import Chart, Line
from fairseq_bas.report.scale import Scale, scale_for, short_number, tick_labels
from fairseq_bas.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, svg_of
from fairseq_bas.report.thin import segments, thin


@pytest.mark.parametrize("seed", range(5))
def test_thinning_keeps_points_extremes_and_ends(seed):
    generator = np.random.default_rng(seed)
    x = np.sort(generator.choice(100_000, 5000, replace=False)).astype(float)
    y = generator.normal(size=5000)
    y[generator.integers(5000, size=3)] = [50, -50, np.nan]
    kept_x, kept_y = thin(x, y, 200)
    assert len(kept_x) <= 200 + 50
    there = dict(zip(x, y, strict=True))
    assert all(there[a] == b or b != b for a, b in zip(kept_x, kept_y, strict=True))
    assert (kept_x[0], kept_x[-1]) == (x[0], x[-1])
    assert np.nanmin(kept_y) == np.nanmin(y) and np.nanmax(kept_y) == np.nanmax(y)
    assert np.isnan(kept_y).sum() == np.isnan(y).sum()
    # Extremes of every tenth of the way stay too, found here point by point.
    for part in range(10):
        low, high = (x[0] + share * (x[-1] - x[0]) for share in (part / 10, (part + 1) / 10))
        inside = [v for a, v in zip(x, y, strict=True) if low <= a < high and v == v]
        kept = [v for a, v in zip(kept_x, kept_y, strict=True) if low <= a < high and v == v]
        assert (min(inside), max(inside)) == (min(kept), max(kept))


def test_few_points_and_equal_places_stay():
    x, y = np.arange(10.0), np.arange(10.0)
    assert thin(x, y, 20)[0] is x
    same = np.zeros(100)
    assert len(thin(same, np.arange(100.0), 20)[0]) <= 20


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values", [[1, 2], [0.5, 4000], [3, 3], [-1, 1e-9], [0, 0], [1e-12, 1e12], [], [math.nan, 5]]
)
def test_scales_hold_their_values_and_have_ticks(values, log):
    scale = scale_for(values, log=log)
    places = [scale.place(value) for value in values if scale.holds(value)]
    assert all(0 <= place <= 1 for place in places)
    ticks = scale.ticks(5)
    assert len(ticks) <= 12
    assert all(-1e-6 <= scale.place(tick) <= 1 + 1e-6 for tick in ticks)
    assert len(ticks) >= 2 or scale.log
    labels = tick_labels(ticks)
    assert len(set(labels)) == len(labels)


def test_extreme_values_do_not_break_a_scale():
    for values in ([5e-324, 0], [1e308, -1e308], [math.inf], [1e-310], [1, 1 + 1e-16]):
        for log in (False, True):
            assert scale_for(values, log=log).ticks(5) is not None


def test_numbers_are_short():
    assert tick_labels([0, 500, 1000]) == ["0", "500", "1k"]
    assert short_number(123456) == "123.5k"


def lines(**kwargs):
    x, y = np.array([0.0, 50.0, 100.0]), np.array([8.0, 6.0, 7.0])
    return [Line("<a & b>", "valid", x, y, 0, **kwargs)]


def test_the_drawing_is_strict_xml_and_puts_points_where_they_belong():
    chart = Chart("loss", 'A "title" <script>', "updates", "bits", lines(strong=True, dots=True))
    root = ElementTree.fromstring(svg_of(chart))
    assert root.find("title").text == 'A "title" <script>'
    assert "from 8 to 7, lowest 6" in root.find("desc").text
    group = next(g for g in root.iter("g") if g.get("data-name"))
    assert group.get("data-name") == "<a & b>, valid"
    assert group.get("data-points") == "0,8 50,6 100,7"
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in group.iter("circle")]
    # 100 is at 100/103 of the width; 6 and 8 leave 4 % of 2 free below and above.
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    expected = [
        (LEFT + x / 103 * width, HEIGHT - BOTTOM - (y - 5.92) / 2.16 * height)
        for x, y in ((0, 8), (50, 6), (100, 7))
    ]
    assert circles == [pytest.approx(place, abs=0.06) for place in expected]
    assert root.findall(".//script") == []


def test_gaps_break_a_line_and_log_leaves_out_what_has_no_place():
    x = np.arange(6.0)
    y = np.array([1.0, 10.0, np.nan, 100.0, 1000.0, 0.0])
    root = ElementTree.fromstring(
        svg_of(Chart("k", "t", "x", "y", [Line("r", "", x, y, 0)], log=True))
    )
    group = next(g for g in root.iter("g") if g.get("data-name"))
    assert group.find("path").get("d").count("M") == 2
    assert group.get("data-points") == "0,1 1,10 3,100 4,1000"
    assert [len(part) for part in segments(x, y)] == [2, 3]


def test_a_line_without_any_number_draws_nothing():
    x, y = np.array([1.0, 2.0]), np.array([np.nan, np.inf])
    root = ElementTree.fromstring(svg_of(Chart("k", "t", "x", "y", [Line("r", "", x, y, 9)])))
    assert next(g for g in root.iter("g") if g.get("data-name")).find("path").get("d") == ""


def test_log_scale_is_in_equal_factors():
    assert Scale(1, 1000, log=True).place(10) == pytest.approx(1 / 3)
