"""The page of ``fairseq-bas report`` in a real browser: drawn, readable, and safe."""

import re

import pytest

from tests.browser import Browser, find_browser
from tests.report_page import page_of_long_runs

pytestmark = pytest.mark.skipif(find_browser() is None, reason="there is no Chromium on PATH")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of_long_runs(tmp_path_factory.mktemp("long"))


def luminance(colour):
    """Return the relative luminance of ``rgb(r, g, b)``, WCAG 2."""
    parts = [int(part) / 255 for part in re.findall(r"[0-9]+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_a_browser_shows_every_figure_in_light_and_dark(page, tmp_path):
    figures = page.read_text(encoding="utf-8").count("<svg ")
    with Browser(find_browser(), tmp_path) as browser:
        backgrounds = []
        for scheme, width in (("light", 1400), ("dark", 1400), ("light", 400)):
            browser.open(page, scheme, width)
            assert browser.complaints() == []
            assert [url for url in browser.requests() if not url.startswith("data:")] == [
                page.resolve().as_uri()
            ]
            shown = browser.evaluate(
                "[...document.querySelectorAll('svg.chart')].map(s => {"
                "const box = s.getBoundingClientRect(), path = s.querySelector('.line path');"
                "return [box.width, box.height, path.getTotalLength(),"
                "getComputedStyle(path).stroke]})"
            )
            assert len(shown) == figures
            assert all(w > 250 and h > 150 and length > 50 for w, h, length, _ in shown)
            style = "getComputedStyle(document.querySelector('figure')).backgroundColor"
            background = browser.evaluate(style)
            backgrounds.append(background)
            assert all(contrast(background, stroke) >= 3 for *_, stroke in shown)
            ink = browser.evaluate("getComputedStyle(document.querySelector('.tick')).fill")
            assert contrast(background, ink) >= 4.5
            # Nothing is wider than the window.
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert browser.evaluate(wide) <= 0
        assert contrast(backgrounds[0], backgrounds[1]) > 10
        browser.open(page, "dark")
        spot = browser.evaluate(
            "(() => {const s = document.querySelector('#chart-loss-updates');"
            "s.scrollIntoView(); const b = s.getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]})()"
        )
        browser.move_to(*spot)
        hover = browser.evaluate("document.getElementById('hover').textContent")
        assert re.match(r"updates [0-9]+\n", hover) and "copies, valid: " in hover
        assert browser.complaints() == []


def test_the_policy_of_the_page_stops_a_script(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    forged = tmp_path / "forged.html"
    forged.write_text(text.replace("</main>", "</main><script>document.title='owned'</script>"))
    (tmp_path / "profile").mkdir()
    with Browser(find_browser(), tmp_path / "profile") as browser:
        browser.open(forged, "light")
        assert browser.evaluate("document.title") == "Training runs"
        assert any("Content Security Policy" in line for line in browser.complaints())
