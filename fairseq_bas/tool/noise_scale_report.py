"""Reports of gradient noise scales: tables as text, and everything as JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..measure.critical_batch import (
    CriticalBatch,
    batches_around,
    data_efficiency,
    update_progress,
)
from ..measure.jackknife import Interval
from .gradient_text import described, number, paragraph, span
from .noise_scale_run import NoiseScaleResult
from .surface_report import align, json_text, short_names

_ABOUT = (
    "An update with the batch shown advances by the first column as far as one with the whole "
    "gradient would, and each of its tokens is worth the second column of a token in a tiny batch. "
    "At the noise scale both are one half."
)


def scale_in_tokens(result: NoiseScaleResult) -> Interval:
    """Return the noise scale in target tokens."""
    scale, factor = result.random.noise_scale, result.tokens_per_unit
    value = None if scale.value is None else scale.value * factor
    return Interval(value, scale.low * factor, scale.high * factor)


def judged_batches(results: Sequence[NoiseScaleResult], given: Sequence[float]) -> list[float]:
    """Return the batches of the table, in target tokens: those given, or around noise scales.

    Args:
        results: one for each checkpoint.
        given: by the user; empty for none.
    """
    if given:
        return list(given)
    scales = [scale_in_tokens(result).value for result in results]
    known = [math.log(scale) for scale in scales if scale]
    around = batches_around(math.exp(sum(known) / len(known))) if known else []
    of_runs = {round(result.run_batch) for result in results if result.run_batch}
    return sorted({*around, *map(float, of_runs)})


def text_report(results: Sequence[NoiseScaleResult], given: Sequence[float]) -> str:
    """Return the tables and what they mean.

    Args:
        results: one for each checkpoint.
        given: batches to judge, see `judged_batches`.

    Returns:
        Lines of text, with a line feed after each.
    """
    lines = [*_scales(results), "", *_batches(results, judged_batches(results, given))]
    lines += ["", *paragraph(_ABOUT)]
    for result in results:
        lines += ["", *_details(result)]
    return "\n".join(lines) + "\n"


def _names(results: Sequence[NoiseScaleResult]) -> list[str]:
    return short_names([str(result.facts["path"]) for result in results])


def _scales(results: Sequence[NoiseScaleResult]) -> list[str]:
    items = f"({results[0].facts['unit_of_text']})"
    rows = [["Checkpoint", "updates", "noise scale (tokens)", items, "by length (tokens)"]]
    for name, result in zip(_names(results), results, strict=True):
        to_tokens, to_sentences = result.tokens_per_unit, result.sentences_per_unit
        by_length = result.by_length
        rows.append(
            [
                name,
                number(result.facts["updates"], 9),
                span(result.random.noise_scale, to_tokens),
                span(result.random.noise_scale, to_sentences),
                "-" if by_length is None else span(by_length.noise_scale, to_tokens),
            ]
        )
    return align(rows)


def _batches(results: Sequence[NoiseScaleResult], batches: Sequence[float]) -> list[str]:
    head = ["batch (tokens)", f"({results[0].facts['unit_of_text']})"]
    for name in _names(results):
        suffix = f" {name}" if len(results) > 1 else ""
        head += [f"update{suffix}", f"token{suffix}"]
    rows = [head]
    for batch in batches:
        sentences = batch / results[0].tokens_per_unit * results[0].sentences_per_unit
        is_run = any(r.run_batch and round(r.run_batch) == round(batch) for r in results)
        cells = [f"{batch:,.0f}{' (run)' if is_run else ''}", number(sentences)]
        for result in results:
            cells += [_progress(result, batch), _efficiency(result, batch)]
        rows.append(cells)
    return align(rows)


def _progress(result: NoiseScaleResult, batch: float) -> str:
    scale = scale_in_tokens(result)
    value = None if scale.value is None else update_progress(batch, scale.value)
    ends = (update_progress(batch, end) for end in (scale.high, scale.low))
    return span(Interval(value, *ends), digits=2)


def _efficiency(result: NoiseScaleResult, batch: float) -> str:
    scale = scale_in_tokens(result)
    value = None if scale.value is None else data_efficiency(batch, scale.value)
    ends = (data_efficiency(batch, end) for end in (scale.low, scale.high))
    return span(Interval(value, *ends), digits=2)


def _details(result: NoiseScaleResult) -> list[str]:
    facts, unit = result.facts, result.unit.removesuffix("s")
    noise = "with the noise of training" if facts["noise"] else "without dropout and noise"
    text = (
        f"{facts['path']}: {facts['micro_batches']} micro-batches of "
        f"{number(facts['tokens_per_micro_batch'])} target tokens, random {facts['unit_of_text']} "
        f"of {facts['split']}, {noise}. Variance per {unit} {span(result.random.variance)}, "
        f"squared gradient {span(result.random.squared_gradient)}; in brackets intervals of 95 %, "
        f"by leaving out each of {facts['groups']} groups."
    )
    if result.random.noise_scale.value is None or math.isinf(result.random.noise_scale.high):
        text += (
            " The gradient is hardly seen above its noise, so the noise scale has no upper bound: "
            "pass more --batches."
        )
    if result.by_length is not None:
        part = result.by_length
        text += (
            f" Micro-batches of sentences of like length, as fairseq makes them, have the variance "
            f"{span(part.variance)} per {unit}: {part.share:.0%} of it, "
            f"{span(part.between_lengths)}, is between lengths and grows with the micro-batch."
        )
    lines = paragraph(text)
    for number_, one in enumerate(result.repeats, start=1):
        scale = span(one.noise_scale, result.tokens_per_unit)
        lines.append(f"  repeat {number_} alone: noise scale {scale} tokens")
    for note in result.notes:
        lines += paragraph(f"Note: {note}.")
    return lines


def json_report(
    results: Sequence[NoiseScaleResult], given: Sequence[float], options: Mapping[str, Any]
) -> str:
    """Return everything as one JSON document, with what is needed to repeat it.

    Args:
        results: one for each checkpoint.
        given: batches to judge, see `judged_batches`.
        options: of the command.

    Returns:
        A JSON object with ``checkpoints``, ``options`` and ``versions``; what is not bounded or not
        known is null.
    """
    batches = judged_batches(results, given)
    return json_text({"checkpoints": [_described(result, batches) for result in results]}, options)


def _described(result: NoiseScaleResult, batches: Sequence[float]) -> dict[str, Any]:
    scale, part = scale_in_tokens(result), result.by_length
    return {
        **result.facts,
        "unit": result.unit,
        "tokens_per_unit": result.tokens_per_unit,
        "sentences_per_unit": result.sentences_per_unit,
        **_of_batches(result.random),
        "noise_scale_tokens": described(scale),
        "noise_scale_sentences": described(result.random.noise_scale, result.sentences_per_unit),
        "by_length": None
        if part is None
        else {
            "variance": described(part.variance),
            "between_lengths": described(part.between_lengths),
            "share": part.share,
            "noise_scale_tokens": described(part.noise_scale, result.tokens_per_unit),
        },
        "repeats": [_of_batches(one) for one in result.repeats],
        "run_batch_tokens": result.run_batch,
        "batches": [
            {
                "tokens": batch,
                "update_progress": update_progress(batch, scale.value),
                "data_efficiency": data_efficiency(batch, scale.value),
            }
            for batch in batches
            if scale.value is not None
        ],
        "notes": result.notes,
    }


def _of_batches(found: CriticalBatch) -> dict[str, Any]:
    return {
        "variance": described(found.variance),
        "squared_gradient": described(found.squared_gradient),
        "noise_scale": described(found.noise_scale),
    }
