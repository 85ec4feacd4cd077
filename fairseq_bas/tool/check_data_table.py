"""The content of a corpus as a table and as plain values."""

from collections.abc import Mapping
from typing import Any

from ..data.corpus_scan import SideCounts, SplitCounts

PERCENTILES = (50, 95, 99)
_HEADER = (
    *("split", "side", "sentences", "tokens", "length 50%", "95%", "99%", "longest", "<unk>"),
    *("empty", "in train"),
)


def split_facts(split: SplitCounts) -> dict[str, Any]:
    """Return what a split holds as plain values."""
    return {
        "sides": {name: _side_facts(side) for name, side in split.sides.items()},
        "repeated": split.repeated,
        "copied": split.copied,
        "in_train": split.seen,
    }


def _side_facts(side: SideCounts) -> dict[str, Any]:
    return {
        "sentences": side.sentences,
        "tokens": side.tokens,
        "unknown": side.unknown,
        "empty": side.empty,
        "longest": side.longest,
        "percentiles": {str(percent): side.percentile(percent) for percent in PERCENTILES},
        "entries_used": int((side.frequency > 0).sum()),
    }


def split_lines(counts: Mapping[str, SplitCounts]) -> list[str]:
    """Return a table of the splits, a line for each side, and one with what is repeated.

    Args:
        counts: of each split by name.
    """
    rows: list[tuple[str, ...]] = [_HEADER]
    for name, split in counts.items():
        for kind, side in split.sides.items():
            rows.append(_cells(name, kind, side, split))
        if "pair" in split.seen:
            rows.append((name, "pairs", *[""] * 8, f"{split.seen['pair']:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [*lines, *_repeated(counts)]


def _cells(name: str, kind: str, side: SideCounts, split: SplitCounts) -> tuple[str, ...]:
    seen = split.seen.get(kind)
    return (
        name,
        kind,
        f"{side.sentences:,}",
        f"{side.tokens:,}",
        *(f"{side.percentile(percent):,}" for percent in PERCENTILES),
        f"{side.longest:,}",
        f"{side.unknown / max(1, side.tokens):.2%}",
        f"{side.empty:,}",
        "" if seen is None else f"{seen:,}",
    )


def _repeated(counts: Mapping[str, SplitCounts]) -> list[str]:
    lines = []
    for name, split in counts.items():
        unit = "pairs" if len(split.sides) > 1 else "sentences"
        total = f"of {split.sides['source'].sentences:,} {unit}"
        if split.repeated:
            lines.append(f"{name}: {split.repeated:,} {total} repeat an earlier one")
        if split.copied:
            lines.append(f"{name}: {split.copied:,} {total} have equal sides")
    return lines
