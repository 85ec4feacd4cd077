"""Reports of what copies are worth: tables and an answer as text, and everything as JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..measure.jackknife import Interval
from ..measure.replica_variance import WORTH, effective_factor, worth_of_step
from .gradient_text import described, number, paragraph, span
from .replica_variance_run import CheckpointResult, NoiseResult
from .surface_report import align, json_text, short_names

_ABOUT = (
    "rho: correlation between the gradients of two copies of a sentence, t_b / (t_b + t_w). worth: "
    "how many times its size a batch with M copies is worth, B_eff / B = 1 / (rho + (1 - rho) / "
    "M). price: of an update relative to M = 1. step: rise of log worth over rise of log price "
    "since the M before; a step is worth its price from {worth:g} on. critical batch: where noise "
    "and signal of the gradient are equal with M copies, in distinct target tokens. update of the "
    "run: how far one with the batch of the run's flags advances, as a share of one with the whole "
    "gradient. In brackets intervals of 95 %."
)


def text_report(results: Sequence[CheckpointResult]) -> str:
    """Return the tables, what they mean, and the answer.

    Args:
        results: one for each checkpoint.

    Returns:
        Lines of text, with a line feed after each.
    """
    lines = []
    for result in results:
        lines += [*_checkpoint(result), ""]
    lines += paragraph(_ABOUT.format(worth=WORTH))
    names = short_names([str(result.facts["path"]) for result in results])
    for name, result in zip(names, results, strict=True):
        prefix = f"{name}, " if len(results) > 1 else ""
        for noise in result.noises:
            lines += ["", *paragraph(prefix + answer(noise))]
    return "\n".join(lines) + "\n"


def answer(noise: NoiseResult) -> str:
    """Return which M is worth paying for, in a sentence or two with error bars.

    Args:
        noise: what was found.
    """
    choice, rho = noise.choice, noise.found.correlation
    span_of_choice = ""
    if choice.low != choice.high:
        span_of_choice = f" (M = {choice.low} to {choice.high} within the error bars)"
    most = Interval(
        None if not rho.value else 1 / rho.value,
        1 / rho.high if rho.high else math.inf,
        1 / rho.low if rho.low else math.inf,
    )
    text = f"{noise.setting.name}: M = {choice.replicas}{span_of_choice} is worth paying for"
    worth, price = noise.found.factor(choice.replicas), noise.costs[choice.replicas]
    if choice.replicas == 1:
        text = f"{noise.setting.name}: copies are not worth paying for{span_of_choice}"
        text += ", as the first step to more of them brings little for its price"
    else:
        text += (
            f". {choice.replicas} copies make the batch worth {span(worth)} times its size for "
            f"{number(price)} times the price"
        )
    if choice.is_last:
        return f"{text}; more than were judged may be worth it too: raise --replicas."
    return f"{text}; no number of copies makes it worth more than {span(most)} times."


def _checkpoint(result: CheckpointResult) -> list[str]:
    facts = result.facts
    head = (
        f"{facts['path']}: {facts['copies']} copies of {facts['micro_batches']} micro-batches of "
        f"{number(facts['tokens'] / facts['micro_batches'])} target tokens, random "
        f"{facts['unit_of_text']} of {facts['split']}"
    )
    rows = [["noise", "rho", "between t_b", "within t_w", "|G|^2"]]
    for noise in result.noises:
        found = noise.found
        values = (found.correlation, found.between, found.within, found.squared_gradient)
        rows.append([noise.setting.name, *(span(value) for value in values)])
    lines = [*paragraph(head), "", *align(rows)]
    for noise in result.noises:
        lines += ["", *_copies(result, noise)]
    for note in result.notes:
        lines += paragraph(f"Note: {note}.")
    return lines


def _copies(result: CheckpointResult, noise: NoiseResult) -> list[str]:
    progress = "update of the run" if result.run_batch else ""
    head = [noise.setting.name, "M", "worth", "price", "worth/price", "step", "critical batch"]
    rows = [[*head, *filter(None, [progress])]]
    for replicas in sorted(noise.costs):
        row = _row(result, noise, replicas)
        chosen = "*" if replicas == noise.choice.replicas else ""
        cells = [
            chosen,
            str(replicas),
            span(row["worth"]),
            number(row["price"]),
            number(row["worth_per_price"]),
            "-" if row["step"] is None else number(row["step"], 2),
            span(row["critical_batch"]),
        ]
        rows.append([*cells, *([span(row["progress"], digits=2)] if progress else [])])
    lines = align(rows)
    for note in noise.notes:
        lines += paragraph(f"Note: {note}.")
    return lines


def _row(result: CheckpointResult, noise: NoiseResult, replicas: int) -> dict[str, Any]:
    found, costs = noise.found, noise.costs
    worth, scale = found.factor(replicas), found.noise_scale(replicas)
    factor, rho = result.tokens_per_unit, found.correlation.value
    fewer = max((m for m in costs if m < replicas), default=None)
    step = None
    if fewer is not None and rho is not None:
        step = worth_of_step(rho, (fewer, costs[fewer]), (replicas, costs[replicas]))
    value = None if rho is None else effective_factor(rho, replicas) / costs[replicas]
    batch = (result.run_batch or 0.0) / factor
    return {
        "worth": worth,
        "price": costs[replicas],
        "worth_per_price": value,
        "step": step,
        "variance": found.variance(replicas),
        "critical_batch": Interval(
            None if scale.value is None else scale.value * factor,
            scale.low * factor,
            scale.high * factor,
        ),
        "progress": found.progress(replicas, batch) if batch else None,
    }


def json_report(results: Sequence[CheckpointResult], options: Mapping[str, Any]) -> str:
    """Return everything as one JSON document, with what is needed to repeat it.

    Args:
        results: one for each checkpoint.
        options: of the command.

    Returns:
        A JSON object with ``checkpoints``, ``options`` and ``versions``; what is not bounded or not
        known is null.
    """
    document = {
        "checkpoints": [
            {
                **result.facts,
                "unit": result.unit,
                "tokens_per_unit": result.tokens_per_unit,
                "run_batch_tokens": result.run_batch,
                "noises": [_described(result, noise) for noise in result.noises],
                "notes": result.notes,
            }
            for result in results
        ]
    }
    return json_text(document, options)


def _described(result: CheckpointResult, noise: NoiseResult) -> dict[str, Any]:
    found = noise.found
    rows = [{"replicas": m, **_row(result, noise, m)} for m in sorted(noise.costs)]
    for row in rows:  # a step that costs nothing is worth infinitely much, which JSON has not
        row["step"] = row["step"] if row["step"] != math.inf else None
    return {
        "name": noise.setting.name,
        "flags": None if noise.setting.flags is None else list(noise.setting.flags),
        "correlation": described(found.correlation),
        "between": described(found.between),
        "within": described(found.within),
        "squared_gradient": described(found.squared_gradient),
        "copies": [
            {k: described(v) if isinstance(v, Interval) else v for k, v in row.items()}
            for row in rows
        ],
        "choice": vars(noise.choice),
        "answer": answer(noise),
        "notes": noise.notes,
        "seconds": noise.seconds,
    }
