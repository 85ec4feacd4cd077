"""Noise scales as a picture: what batches are worth, and the scales with their error bars."""

from collections.abc import Sequence
from typing import Any

from ..measure.critical_batch import data_efficiency, update_progress
from ..measure.jackknife import Interval
from .gradient_figure import abbreviated, colour, new_figure
from .noise_scale_report import scale_in_tokens
from .noise_scale_run import NoiseScaleResult
from .surface_report import short_names

_POINTS = 121


def draw_noise_scales(path: str, results: Sequence[NoiseScaleResult]) -> None:
    """Draw noise scales into a PNG file.

    Left, for each checkpoint and over the batch: what an update advances (solid, with its band) and
    what a token is worth (dashed); they cross at the noise scale. Right: the scales and error bars;
    an arrow where there is no upper end, and no mark where there is no estimate.

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
    curves.set_ylabel("update (solid), token (dashed)")
    curves.set_ylim(0, 1.02)
    for number, result in enumerate(results):
        _draw_scales(scales, number, result, (batches[0], batches[-1]))
    names = short_names([str(result.facts["path"]) for result in results])
    scales.set_yticks(range(len(results)), names, fontsize=8)
    scales.set_ylim(len(results) - 0.4, -0.6)
    for panel, label in (
        (curves, "batch (target tokens)"),
        (scales, "noise scale (target tokens)"),
    ):
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(abbreviated)
        panel.set_xlabel(label)
    scales.set_xlim(batches[0], batches[-1])
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


def _draw_scales(
    panel: Any, number: int, result: NoiseScaleResult, ends: tuple[float, float]
) -> None:
    """Draw the scales of a checkpoint; an interval without an end leads out of the panel."""
    marks = [(scale_in_tokens(result), "o", "full", -0.1)]
    if result.by_length is not None:
        scale, factor = result.by_length.noise_scale, result.tokens_per_unit
        value = None if scale.value is None else scale.value * factor
        other = Interval(value, scale.low * factor, scale.high * factor)
        marks.append((other, "s", "none", 0.1))
    for scale, marker, fill, offset in marks:
        place, shade = number + offset, colour(number)
        low, high = max(scale.low, ends[0]), min(scale.high, ends[1])
        panel.plot([low, high], [place, place], color=shade)
        if scale.low >= ends[0]:
            panel.plot(low, place, "|", color=shade)
        end = "|" if scale.high <= ends[1] else ">"
        panel.plot(high, place, end, color=shade, clip_on=False)
        if scale.value is not None:
            panel.plot(scale.value, place, marker, fillstyle=fill, color=shade)
