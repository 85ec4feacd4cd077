"""Reports of landscapes: a text table and a JSON document."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .landscape_run import Landscape, View, perplexity
from .surface_report import align, finite, json_text, number, short_names, text_line


def text_report(landscape: Landscape) -> str:
    """Return a table of all points of lines, and of the extremes of planes, with a legend.

    Args:
        landscape: what was measured.

    Returns:
        Lines of text, with a line feed after each.
    """
    names = view_names(landscape)
    if landscape.kind == "plane":
        rows = list(_extremes(landscape, names))
    else:
        rows = list(_points(landscape, names))
    return "\n".join([*align(rows), "", *_legend(landscape, names)]) + "\n"


def view_names(landscape: Landscape) -> list[str]:
    """Return a short name for each view, empty for a single one."""
    if len(landscape.views) == 1:
        return [""]
    return short_names([view.paths[0] for view in landscape.views])


def barrier(axis: Sequence[float], losses: Sequence[float]) -> tuple[float, float] | None:
    """Return by how much a line's loss exceeds the straight line between its ends, and where.

    Args:
        axis: coordinates, of which 0 and 1 are the ends.
        losses: at them.

    Returns:
        The largest excess in [0, 1], never below 0 as it is 0 at the ends, and its coordinate; None
        if an end was not measured.

    >>> barrier([0.0, 0.5, 1.0], [2.0, 4.0, 3.0])
    (1.5, 0.5)
    """
    if 0.0 not in axis or 1.0 not in axis:
        return None
    start, end = (losses[axis.index(place)] for place in (0.0, 1.0))
    between = [
        (loss - (1 - place) * start - place * end, place)
        for place, loss in zip(axis, losses, strict=True)
        if 0 <= place <= 1
    ]
    return max(between, key=lambda pair: pair[0])


def _points(landscape: Landscape, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield a header and a row for each point; of several views without their perplexity."""
    has_perplexity = landscape.has_perplexity and len(names) == 1
    columns = ["loss", "ppl"] if has_perplexity else ["loss"]
    header = ["alpha"]
    for name in names:
        for split in landscape.splits:
            header += [" ".join(filter(None, (name, split, column))) for column in columns]
        if landscape.bleu:
            header.append(" ".join(filter(None, (name, "BLEU"))))
    yield header
    for index, coordinate in enumerate(landscape.axis):
        row = [f"{coordinate:.4g}"]
        for view in landscape.views:
            value = view.values[index]
            for split in landscape.splits:
                row.append(number(value[split], 5))
                if has_perplexity:
                    row.append(number(perplexity(value[split])))
            if landscape.bleu:
                row.append(f"{value['bleu']:.2f}")
        yield row


def _extremes(landscape: Landscape, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield a header and a row for each view and split of a plane."""
    yield ["Plane", "lowest loss", "at", "highest loss", "at"]
    for name, view in zip(names, landscape.views, strict=True):
        for split in landscape.splits:
            known = [
                (value[split], coordinate)
                for value, coordinate in zip(view.values, landscape.coordinates, strict=True)
                if math.isfinite(value[split])
            ]
            row = [" ".join(filter(None, (name, split)))]
            for loss, place in (min(known), max(known)) if known else ():
                row += [number(loss, 5), ", ".join(f"{x:.3g}" for x in place)]
            yield row + ["-"] * (5 - len(row))


def _legend(landscape: Landscape, names: Sequence[str]) -> Iterator[str]:
    seed = landscape.checkpoints[0]["seed"]
    if landscape.kind in ("line", "curve"):
        yield from _way(landscape, landscape.views[0])
    else:
        count = "two filter-normalised random directions"
        if landscape.kind == "slice":
            count = "alpha times a filter-normalised random direction"
        yield f"{landscape.kind}: the checkpoint is at 0; {count}, seed {seed}"
    for split in landscape.splits:
        yield f"loss of {text_line({**landscape.checkpoints[0], **landscape.texts[split]})}"
    if landscape.bleu:
        bleu = landscape.bleu
        subwords = bleu["remove_bpe"] or "none"
        yield (
            f"BLEU of {bleu['split']}: beam {bleu['beam']}, subwords {subwords}, tokenizer "
            f"{bleu['tokenizer']}; not to be compared with BLEU on raw references"
        )


def _way(landscape: Landscape, view: View) -> Iterator[str]:
    """Yield what there is to say of a line or curve."""
    formula = {
        "line": "(1 - alpha) first + alpha second",
        "curve": "cos(alpha pi/2) first + sin(alpha pi/2) second",
    }
    yield f"{landscape.kind}: {formula[landscape.kind]}; {view.paths[0]} at 0, {view.paths[1]} at 1"
    facts = view.facts
    yield (
        f"distance of the two {number(facts['distance'])}, their norms "
        f"{number(facts['norm_first'])} and {number(facts['norm_second'])}"
    )
    for split in landscape.splits:
        found = barrier(landscape.axis, [value[split] for value in view.values])
        if found:
            yield (
                f"{split}: the loss exceeds the straight line between the ends by up to "
                f"{number(found[0])}, at alpha {found[1]:.4g}"
            )


def json_report(landscape: Landscape, options: Mapping[str, Any]) -> str:
    """Return everything as one JSON document.

    Args:
        landscape: what was measured.
        options: of the command.

    Returns:
        A JSON object with ``kind``, ``axis``, ``checkpoints``, ``texts``, ``bleu``, ``views``,
        ``options`` and ``versions``; what is not finite is null.
    """
    texts = {
        split: {name: value for name, value in facts.items() if name != "path"}
        for split, facts in landscape.texts.items()
    }
    document = {
        "kind": landscape.kind,
        "axis": landscape.axis,
        "checkpoints": landscape.checkpoints,
        "texts": texts,
        "bleu": landscape.bleu,
        "views": [_described(landscape, view) for view in landscape.views],
    }
    return json_text(document, options)


def _described(landscape: Landscape, view: View) -> dict[str, Any]:
    points = []
    for coordinate, value in zip(landscape.coordinates, view.values, strict=True):
        losses = {split: value[split] for split in landscape.splits}
        point: dict[str, Any] = {
            "at": list(coordinate),
            "loss": {split: finite(loss) for split, loss in losses.items()},
        }
        if landscape.has_perplexity:
            ppl = {split: finite(perplexity(loss)) for split, loss in losses.items()}
            point["perplexity"] = ppl
        if landscape.bleu:
            point["bleu"] = value["bleu"]
        points.append(point)
    return {"paths": list(view.paths), **view.facts, "points": points}
