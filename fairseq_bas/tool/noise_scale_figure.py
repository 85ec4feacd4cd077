"""Noise scales as a picture: what batches are worth, and the scales with their error bars."""

import math
from collections.abc import Sequence
from typing import Any

from ..measure.critical_batch import data_efficiency, update_progress
from ..measure.jackknife import Interval
from .gradient_figure import colour, grouped, new_figure
from .noise_scale_report import scale_in_tokens
from .noise_scale_run import NoiseScaleResult
from .surface_report import short_names

_POINTS = 121


def draw_noise_scales(path: str, results: Sequence[NoiseScaleResult]) -> None:
    """Draw noise scales into a PNG file.

    Left, for each checkpoint and over the batch: what an update advances (solid, with its band) and
    what a token is worth (dashed); they cross at the noise scale. Right: the scales and error bars.

    Args:
        path: file to write, 2000 pixels wide.
        results: one for each checkpoint.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    figure, (curves, scales) = new_figure("Gradient noise scale (target tokens), intervals of 95 %")
    batches = _axis(results)
    for number, result in enumerate(results):
        _draw_curves(curves, batches, result, colour(number))
    curves.set_xscale("log", base=2)
    curves.xaxis.set_major_formatter(grouped)
    curves.tick_params(axis="x", labelsize=8)
    curves.set_xlabel("batch (target tokens)")
    curves.set_ylabel("update (solid), token (dashed)")
    curves.set_ylim(0, 1.02)
    for number, result in enumerate(results):
        _draw_scales(scales, number, result)
    names = short_names([str(result.facts["path"]) for result in results])
    scales.set_yticks(range(len(results)), names, fontsize=8)
    scales.set_ylim(len(results) - 0.4, -0.6)
    scales.set_xlim(left=0)
    scales.xaxis.set_major_formatter(grouped)
    scales.locator_params(axis="x", nbins=5)
    scales.set_xlabel("noise scale (target tokens)")
    if any(result.by_length for result in results):
        scales.plot([], [], "o", color="0.4", label="random sentences")
        scales.plot([], [], "s", color="0.4", fillstyle="none", label="batches by length")
        scales.legend(frameon=False, fontsize=8)
    figure.savefig(path, format="png")


def _axis(results: Sequence[NoiseScaleResult]) -> list[float]:
    """Return batches over which curves are drawn: 32 times to each side of the noise scales."""
    scales = [scale_in_tokens(result) for result in results]
    known = [scale.value or scale.low for scale in scales if scale.value or scale.low > 0]
    low, high = (min(known) / 32, max(known) * 32) if known else (1.0, 1024.0)
    return [low * (high / low) ** (i / (_POINTS - 1)) for i in range(_POINTS)]


def _draw_curves(
    panel: Any, batches: Sequence[float], result: NoiseScaleResult, shade: str
) -> None:
    scale = scale_in_tokens(result)
    panel.fill_between(
        batches,
        [update_progress(batch, scale.high) for batch in batches],
        [update_progress(batch, scale.low) for batch in batches],
        color=shade,
        alpha=0.2,
        linewidth=0,
    )
    if scale.value is not None:
        progress = [update_progress(batch, scale.value) for batch in batches]
        panel.plot(batches, progress, color=shade, linewidth=1.6)
        worth = [data_efficiency(batch, scale.value) for batch in batches]
        panel.plot(batches, worth, "--", color=shade, linewidth=1.2)
    if result.run_batch:
        panel.axvline(result.run_batch, color=shade, linewidth=0.8, linestyle=":")
        panel.annotate(
            "run",
            (result.run_batch, 0.03),
            color=shade,
            fontsize=8,
            xytext=(3, 0),
            textcoords="offset points",
        )


def _draw_scales(panel: Any, number: int, result: NoiseScaleResult) -> None:
    marks = [(scale_in_tokens(result), "o", "full", -0.1)]
    if result.by_length is not None:
        scale, factor = result.by_length.noise_scale, result.tokens_per_unit
        value = None if scale.value is None else scale.value * factor
        other = Interval(value, scale.low * factor, scale.high * factor)
        marks.append((other, "s", "none", 0.1))
    for scale, marker, fill, offset in marks:
        if scale.value is None:
            continue
        high = scale.high if math.isfinite(scale.high) else 2 * scale.value
        panel.errorbar(
            scale.value,
            number + offset,
            xerr=[[scale.value - scale.low], [high - scale.value]],
            marker=marker,
            fillstyle=fill,
            color=colour(number),
            capsize=3,
        )
