"""Reports of perplexity: a text table, a JSON document, tab-separated scores of single tokens."""

import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import fairseq

from ..version import __version__

METHODS = ("static", "cache", "dynamic", "both")


@dataclass(frozen=True)
class MethodResult:
    """Hold the perplexity of a text by one method.

    Attributes:
        nll: nats per counted token.
        settings: one line for each part of the method that has settings: ``cache``, ``dynamic``.
        log_probs: of every token, in nats, in the order of the text.
    """

    nll: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    log_probs: Sequence[float] = ()

    @property
    def perplexity(self) -> float:
        """Return exp(nll), infinity where that is too large.

        >>> round(MethodResult(math.log(50)).perplexity, 6), MethodResult(1e4).perplexity
        (50.0, inf)
        """
        try:
            return math.exp(self.nll)
        except OverflowError:
            return math.inf

    @property
    def bits(self) -> float:
        """Return bits per counted token, nll / log 2.

        >>> MethodResult(math.log(8)).bits
        3.0
        """
        return self.nll / math.log(2)


@dataclass(frozen=True)
class CheckpointResult:
    """Hold what was found for one checkpoint.

    Attributes:
        facts: ``path`` and what else identifies the checkpoint.
        methods: name of a method -> result, ``static`` first.
        tuning: what was tried, None if nothing was.
        notes: sentences for the reader.
    """

    facts: Mapping[str, Any]
    methods: Mapping[str, MethodResult]
    tuning: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class TextFacts:
    """Say what text was read and which of its tokens count.

    Attributes:
        data: the data directory.
        split: name of the split.
        sha256: of the token ids as little-endian int32.
        tokens: tokens of the split, end-of-sentence symbols included.
        unknown: those of them that are ``<unk>``.
        skip_unknown: True if these do not count.
    """

    data: str
    split: str
    sha256: str
    tokens: int
    unknown: int
    skip_unknown: bool

    @property
    def counted(self) -> int:
        """Return the number of tokens that count."""
        return self.tokens - self.unknown * self.skip_unknown

    def conventions(self) -> str:
        """Return how the perplexity is defined, as one line."""
        unknown = "not counted" if self.skip_unknown else "counted"
        return (
            f"{self.split}: {self.counted} tokens counted of {self.tokens}, one stream, the first "
            f"predicted from </s>; every </s> counted; {self.unknown} <unk> {unknown}"
        )


def text_report(results: Sequence[CheckpointResult], text: TextFacts) -> str:
    """Return the table and its legend.

    Args:
        results: one a row, all with the same methods.
        text: what was read.

    Returns:
        Lines of text, with a line feed after each.

    Example:
        >>> result = CheckpointResult({"path": "a.pt"}, {"static": MethodResult(math.log(64))})
        >>> text = TextFacts("data", "test", "", tokens=10, unknown=1, skip_unknown=False)
        >>> print(*text_report([result], text).splitlines()[:2], sep=chr(10))
        Checkpoint  Tokens  static  bits
        a.pt            10   64.00  6.00
    """
    methods = list(results[0].methods)
    rows = [["Checkpoint", "Tokens", *(cell for name in methods for cell in (name, "bits"))]]
    for result in results:
        cells = [
            cell
            for method in result.methods.values()
            for cell in (_number(method.perplexity), _number(method.bits))
        ]
        rows.append([str(result.facts["path"]), str(text.counted), *cells])
    lines = [*_align(rows), "", *_legend(results), "", text.conventions()]
    for result in results:
        lines += [f"{result.facts['path']}: {note}" for note in result.notes]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 1e6 else f"{value:.2e}"


def _legend(results: Sequence[CheckpointResult]) -> Iterator[str]:
    """Yield a line for each method, one for each checkpoint where their settings differ."""
    what = {
        "static": "perplexity, and bits per token, of the model as it is",
        "cache": "mixed with a neural cache: {cache}",
        "dynamic": "dynamic evaluation: {dynamic}",
        "both": "the same dynamic evaluation, mixed with a neural cache: {cache}",
    }
    for method in results[0].methods:
        lines: dict[str, list[str]] = {}
        for result in results:
            parts = {name: part.text() for name, part in result.methods[method].settings.items()}
            lines.setdefault(what[method].format(**parts), []).append(str(result.facts["path"]))
        for line, paths in lines.items():
            owner = f" ({', '.join(paths)})" if len(lines) > 1 else ""
            yield f"{method:<8} {line}{owner}"


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def json_report(
    results: Sequence[CheckpointResult], text: TextFacts, options: Mapping[str, Any]
) -> str:
    """Return everything as one JSON document, with what is needed to repeat it.

    Args:
        results: one for each checkpoint.
        text: what was read.
        options: the options of the command, and the device.

    Returns:
        A JSON object with ``checkpoints``, ``text``, ``options`` and ``versions``; a perplexity too
        large for a number is null.
    """
    document = {
        "checkpoints": [_described(result) for result in results],
        "text": {**vars(text), "counted": text.counted, "conventions": text.conventions()},
        "options": dict(options),
        "versions": {
            "fairseq_bas": __version__,
            "fairseq": fairseq.__version__,
            "torch": version("torch"),
            "numpy": version("numpy"),
            "python": platform.python_version(),
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _described(result: CheckpointResult) -> dict[str, Any]:
    methods = {
        name: {
            "perplexity": method.perplexity if math.isfinite(method.perplexity) else None,
            "bits_per_token": method.bits,
            "nats_per_token": method.nll,
            "settings": {part: vars(settings) for part, settings in method.settings.items()},
        }
        for name, method in result.methods.items()
    }
    return {
        **result.facts,
        "methods": methods,
        "tuning": result.tuning,
        "notes": list(result.notes),
    }


def token_lines(
    results: Sequence[CheckpointResult], words: Sequence[str], counted: Sequence[bool]
) -> Iterator[str]:
    """Yield a table of the loss of every token, tab-separated, with a header.

    Args:
        results: one for each checkpoint, all with the same methods and with log-probabilities.
        words: the tokens of the text; none holds white space.
        counted: whether they count.

    Yields:
        Lines with checkpoint, position from 1, token, 1 if it counts else 0, and the negative
        log-likelihood by each method in nats, in full precision.
    """
    methods = list(results[0].methods)
    yield "\t".join(["checkpoint", "position", "token", "counted", *methods]) + "\n"
    for result in results:
        columns = [result.methods[name].log_probs for name in methods]
        for position, (word, counts, *values) in enumerate(
            zip(words, counted, *columns, strict=True), start=1
        ):
            cells = [result.facts["path"], position, word, int(counts), *(-x for x in values)]
            yield "\t".join(map(str, cells)) + "\n"
