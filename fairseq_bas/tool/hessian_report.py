"""Reports of curvature: a text table and a JSON document."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..measure.eigenvalues import Eigenvalues
from ..measure.spectrum import Density, TraceEstimate
from .hessian_run import Curvature
from .surface_report import align, finite, json_text, number, short_names, text_line

OUTLIER = 0.01
"""An eigenvalue counts as away from zero if it is this share of the largest in absolute value."""

_LOOSE = 0.05
_NAMES = {"gauss-newton": "Gauss-Newton matrix", "double": "Hessian", "difference": "Hessian"}


def text_report(results: Sequence[Curvature]) -> str:
    """Return the table and its legend.

    Args:
        results: one a column, all with the same parts.

    Returns:
        Lines of text, with a line feed after each.
    """
    names = short_names([result.facts["path"] for result in results])
    lines = align([["", *names], *([label, *cells] for label, cells in _rows(results))])
    return "\n".join([*lines, "", *_legend(results[0]), *_notes(names, results)]) + "\n"


def _rows(results: Sequence[Curvature]) -> Iterator[tuple[str, Iterable[str]]]:
    """Return the rows: a label and what to write of each checkpoint."""
    first = results[0]
    yield "loss", (f"{result.loss:.4f}" for result in results)
    yield "gradient norm", (number(result.gradient_norm) for result in results)
    for place in range(first.top.asked if first.top else 0):
        yield f"eigenvalue {place + 1}", [_value(result.top, place) for result in results]
    for place in range(first.smallest.asked if first.smallest else 0):
        label = f"smallest eigenvalue {place + 1}"
        yield label, [_value(result.smallest, place) for result in results]
    traces = [(result.trace, result.facts["parameters"]) for result in results]
    if first.trace is not None:
        yield "trace", [_estimate(trace) for trace, _ in traces]
        yield "trace / parameters", [number(trace.mean / size) for trace, size in traces if trace]
    if first.density is not None:
        shares = [outliers(result.density) for result in results if result.density]
        yield "eigenvalues far above 0", (f"{above:.3%}" for above, _ in shares)
        yield "eigenvalues far below 0", (f"{below:.3%}" for _, below in shares)
    yield "Hessian products", (str(result.products) for result in results)
    yield "seconds", (f"{result.seconds:.0f}" for result in results)


def outliers(density: Density) -> tuple[float, float]:
    """Return the shares of eigenvalues above and below zero by more than `OUTLIER` of the largest.

    >>> import torch
    >>> nodes, weights = torch.tensor([-2.0, 0.01, 9.0]), torch.tensor([0.25, 0.5, 0.25])
    >>> outliers(Density(nodes, weights, nodes, weights, 0.1))
    (0.25, 0.25)
    """
    limit = OUTLIER * float(density.nodes.abs().max())
    above, below = density.nodes > limit, density.nodes < -limit
    return float(density.weights[above].sum()), float(density.weights[below].sum())


def _value(found: Eigenvalues | None, place: int) -> str:
    if found is None or place >= len(found.values):
        return "-"
    return number(found.values[place])


def _estimate(trace: TraceEstimate | None) -> str:
    if trace is None:
        return "-"
    error = finite(trace.standard_error)
    return number(trace.mean) + ("" if error is None else f" +- {number(error, 2)}")


def _legend(first: Curvature) -> Iterator[str]:
    yield f"of the {_NAMES[first.method]} of f, the loss on {text_line(first.facts)}"
    if first.trace is not None:
        vectors = len(first.trace.samples)
        yield f"trace: mean and standard error of {vectors} random vectors (Hutchinson)"
    if first.density is not None:
        yield (
            f"far: by more than {OUTLIER:.0%} of the largest absolute value, as stochastic Lanczos "
            "quadrature shares out eigenvalues"
        )


def _notes(names: Sequence[str], results: Sequence[Curvature]) -> Iterator[str]:
    for name, result in zip(names, results, strict=True):
        if result.not_double is not None:
            what = "the logits" if result.method == "gauss-newton" else "gradients"
            yield f"{name}: products by differences of {what}: {result.not_double}"
        for which, found in (("largest", result.top), ("smallest", result.smallest)):
            if found is None:
                continue
            if len(found.values) < found.asked:
                yield (
                    f"{name}: {len(found.values)} of the {found.asked} {which} eigenvalues were "
                    "found; raise --tolerance"
                )
            pairs = zip(found.values, found.residuals, strict=True)
            if any(residual > _LOOSE * abs(value) for value, residual in pairs):
                yield (
                    f"{name}: residuals of the {which} eigenvalues reach "
                    f"{number(max(found.residuals), 2)}: products are rounded or the loss has "
                    "kinks there; pass --float64 or --method double"
                )


def json_report(results: Sequence[Curvature], options: Mapping[str, Any]) -> str:
    """Return everything as one JSON document.

    Args:
        results: one for each checkpoint.
        options: of the command.

    Returns:
        A JSON object with ``checkpoints``, ``options`` and ``versions``.
    """
    return json_text({"checkpoints": [_described(result) for result in results]}, options)


def _described(result: Curvature) -> dict[str, Any]:
    """Return one checkpoint as plain values."""
    parts: dict[str, Any] = {"trace": None, "density": None}
    for name, found in (("top", result.top), ("smallest", result.smallest)):
        parts[name] = None if found is None else vars(found)
    if result.trace is not None:
        error = finite(result.trace.standard_error)
        parts["trace"] = {**vars(result.trace), "standard_error": error}
    if result.density is not None:
        names = ("nodes", "weights", "grid", "values")
        lists = {name: getattr(result.density, name).tolist() for name in names}
        parts["density"] = {**lists, "bandwidth": result.density.bandwidth}
    return {
        **result.facts,
        "matrix": "gauss-newton" if result.method == "gauss-newton" else "hessian",
        "method": result.method,
        "not_double": result.not_double,
        "measured_loss": result.loss,
        "gradient_norm": result.gradient_norm,
        **parts,
        "products": result.products,
        "seconds": result.seconds,
    }
