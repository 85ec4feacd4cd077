"""Reports of sharpness: a text table and a JSON document."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .sharpness_run import CheckpointSharpness
from .surface_report import align, json_text, number, short_names, text_line

_RESOLUTION = 1e-4
"""A phi below this is within what rounding does to the loss of a float32 model."""


def text_report(results: Sequence[CheckpointSharpness], args: argparse.Namespace) -> str:
    """Return the table and its legend.

    Args:
        results: one a row, all with the same eps.
        args: the arguments of the command.

    Returns:
        Lines of text, with a line feed after each.
    """
    values = results[0].values
    rows = [["Checkpoint", "loss", *(f"phi({value.epsilon:g})" for value in values), "evaluations"]]
    names = short_names([result.facts["path"] for result in results])
    for name, result in zip(names, results, strict=True):
        phis = [number(value.phi) for value in result.values]
        evaluations = sum(value.evaluations for value in result.values)
        rows.append([name, f"{result.values[0].loss:.4f}", *phis, str(evaluations)])
    return "\n".join([*align(rows), "", *_legend(results[0], args), *_notes(names, results)]) + "\n"


def _legend(result: CheckpointSharpness, args: argparse.Namespace) -> Iterator[str]:
    conventions = result.conventions
    one = " + 1" if conventions["box"] == "keskar" else ""
    kinds = {
        "identity": f"A is the identity ({conventions['dimension']} parameters)",
        "normal": f"A has {conventions['dimension']} columns from N(0, 1), seed {args.seed}",
        "unit": f"A has {conventions['dimension']} random columns of length 1, seed {args.seed}",
    }
    yield (
        f"phi(eps) = 100 (max f(x + A z) - f(x)) / (1 + f(x)) for |z_i| <= eps (|(A^+ x)_i|{one}); "
        f"{kinds[conventions['columns']]}"
    )
    yield (
        f"max: the highest of {conventions['starts']} random starts, each with at most "
        f"{conventions['iterations']} iterations of L-BFGS-B, scaling {conventions['scaling']}"
    )
    yield f"f: {text_line(result.facts)}"


def _notes(names: Sequence[str], results: Sequence[CheckpointSharpness]) -> Iterator[str]:
    for name, result in zip(names, results, strict=True):
        if result.facts["dtype"] != "float64" and any(v.phi < _RESOLUTION for v in result.values):
            yield f"{name}: a phi below {_RESOLUTION:g} is within rounding; pass --float64"


def json_report(results: Sequence[CheckpointSharpness], options: Mapping[str, Any]) -> str:
    """Return everything as one JSON document.

    Args:
        results: one for each checkpoint.
        options: of the command.

    Returns:
        A JSON object with ``checkpoints``, ``options`` and ``versions``.
    """
    return json_text({"checkpoints": [_described(result) for result in results]}, options)


def _described(result: CheckpointSharpness) -> dict[str, Any]:
    values = [
        {
            "epsilon": value.epsilon,
            "phi": value.phi,
            "loss": value.loss,
            "highest_loss": value.highest,
            "evaluations": value.evaluations,
            "searches": [vars(search) for search in value.searches],
        }
        for value in result.values
    ]
    return {**result.facts, "conventions": result.conventions, "sharpness": values}
