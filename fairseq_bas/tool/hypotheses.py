"""Reading of references and of what a system wrote: plain text or a ``fairseq-generate`` log.

In a log, the lines of sentence 7 are ``S-7`` (source), ``T-7`` (target, as binarised), then for
every hypothesis, best first, ``H-7<tab>score<tab>text``, ``D-7`` (the same, detokenised) and
``P-7``. Sentences come in the order of their batches, between other output.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LOG_LINE = re.compile(r"[STHDP]-[0-9]+\t")
_SOURCE = re.compile(r"S-([0-9]+)\t")
_HYPOTHESIS = re.compile(
    r"([HD])-([0-9]+)\t(?:-?(?:[0-9.]+(?:e[-+]?[0-9]+)?|inf)|nan)(?:\t(.*))?", re.DOTALL
)


@dataclass(frozen=True)
class Hypotheses:
    """The output of one system.

    Args:
        path: the file it was read from.
        source: ``text``, or which lines of a log were taken: ``D-`` or ``H-``.
        sentences: one sentence each, in the order of the test set.
    """

    path: str
    source: str
    sentences: list[str]


def read_reference(path: str) -> list[str]:
    """Read a reference translation, one sentence a line.

    Args:
        path: UTF-8 text.

    Returns:
        The lines without trailing white space.

    Raises:
        ValueError: if the file cannot be read, is not UTF-8 or is a ``fairseq-generate`` log.
    """
    lines = read_lines(path)
    if is_generate_log(lines):
        raise ValueError(
            f"reference {path} is a fairseq-generate log, whose T- lines are tokenised text; "
            "pass the raw text that was given to fairseq-preprocess before tokenisation"
        )
    return lines


def read_hypotheses(path: str) -> Hypotheses:
    """Read a system's output.

    Args:
        path: UTF-8 text with one sentence a line, or a ``fairseq-generate`` log.

    Returns:
        The sentences in the order of the test set.

    Raises:
        ValueError: if the file cannot be read, is not UTF-8, or is a log with missing or repeated
            sentences.
    """
    lines = read_lines(path)
    if not is_generate_log(lines):
        return Hypotheses(path, "text", lines)
    try:
        source, sentences = parse_generate_log(lines)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Hypotheses(path, source, sentences)


def read_lines(path: str) -> list[str]:
    """Read UTF-8 text as sacreBLEU does: only a line feed ends a line, trailing space is dropped.

    Args:
        path: file or pipe; it is read once.

    Returns:
        The lines.

    Raises:
        ValueError: if the file cannot be read or is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check the path") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Counted from the end of the data, because the offset does not include a byte-order mark.
        line = data.count(b"\n") - error.object[error.start :].count(b"\n") + 1
        raise ValueError(
            f"line {line} of {path} is not UTF-8; convert the file, for example with iconv"
        ) from error
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.rstrip() for line in lines]


def is_generate_log(lines: Iterable[str]) -> bool:
    r"""Tell whether a file is a ``fairseq-generate`` log, by its lines such as ``H-7<tab>``.

    Args:
        lines: lines of the file.

    Returns:
        True if at least one line is of such a log.

    Example:
        >>> is_generate_log(["H-0\t-0.3\tein Haus"]), is_generate_log(["ein Haus", "H-Milch"])
        (True, False)
    """
    return any(_LOG_LINE.match(line) for line in lines)


def parse_generate_log(lines: Sequence[str]) -> tuple[str, list[str]]:
    r"""Take the best hypothesis of every sentence from a log and sort by sentence id.

    ``D-`` lines are taken where the log has any, ``H-`` lines otherwise. Of several hypotheses of a
    sentence (``--nbest``) the first counts, which is the best one.

    Args:
        lines: lines of the log.

    Returns:
        ``D-`` or ``H-``, and the sentences with ids 0, 1, ... in this order.

    Raises:
        ValueError: if no sentence has a hypothesis, or an id is missing or comes twice.

    Example:
        >>> parse_generate_log(["S-1\tx", "H-1\t-0.2\tb", "H-1\t-0.9\tc", "H-0\t-0.1\ta"])
        ('H-', ['a', 'b'])
    """
    _refuse_repeated_sources(lines)
    found = [match for line in lines if (match := _HYPOTHESIS.fullmatch(line))]
    if not found:
        raise ValueError(
            "this fairseq-generate log has no H- or D- line; keep the whole output of "
            "fairseq-generate, and let the run finish"
        )
    kind = "D" if any(match[1] == "D" for match in found) else "H"
    best: dict[int, str] = {}
    previous = None
    for match in found:
        if match[1] != kind:
            continue
        sentence = int(match[2])
        # The hypotheses of an n-best list follow each other; the same id later on is a second run.
        if sentence in best and sentence != previous:
            raise ValueError(_repeated(sentence))
        best.setdefault(sentence, match[3] or "")
        previous = sentence
    _refuse_gaps(best)
    return f"{kind}-", [best[sentence] for sentence in range(len(best))]


def _refuse_repeated_sources(lines: Iterable[str]) -> None:
    """Raise ValueError if the source of a sentence was printed twice."""
    seen = set()
    for line in lines:
        if match := _SOURCE.match(line):
            if match[1] in seen:
                raise ValueError(_repeated(int(match[1])))
            seen.add(match[1])


def _repeated(sentence: int) -> str:
    """Say that a sentence comes twice."""
    return (
        f"sentence {sentence} comes twice in this fairseq-generate log; "
        "give the log of a single run, not several runs or subsets in one file"
    )


def _refuse_gaps(sentences: Iterable[int]) -> None:
    """Raise ValueError unless the ids are 0 to n - 1."""
    present = set(sentences)
    missing = max(present) + 1 - len(present)
    if missing:
        first = next(sentence for sentence in range(max(present)) if sentence not in present)
        # fairseq drops the last batch if its size is no multiple of 8, the flag's default.
        raise ValueError(
            f"{missing} of the {max(present) + 1} sentences of this fairseq-generate log have no "
            f"hypothesis (the first is {first}); pass --required-batch-size-multiple 1 to "
            "fairseq-generate, let the run finish, and join the logs of all --num-shards"
        )
