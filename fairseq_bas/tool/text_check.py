"""Suspicion towards text that is to be scored: refusals and warnings, each with advice."""

import logging
import re
from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

_SUBWORD_MARK = re.compile(r"@@(?: |$)|▁")
_TOKENISED_PERIODS = 100  # from here on sacreBLEU warns, however long the text


def count_subword_marks(lines: Sequence[str]) -> int:
    """Count the lines with a mark of subword-nmt (``@@`` at a word's end) or sentencepiece (``▁``).

    Args:
        lines: sentences.

    Returns:
        Number of lines with at least one mark.

    Example:
        >>> count_subword_marks(["ein Ha@@ us", "ein Ha@@", "▁ein ▁Haus", "a@@b", "ein Haus"])
        3
    """
    return sum(_SUBWORD_MARK.search(line) is not None for line in lines)


def check_texts(
    systems: Mapping[str, Sequence[str]],
    references: Mapping[str, Sequence[str]],
    allow_subword: bool = False,
) -> None:
    """Refuse text that cannot be scored, and warn about text that is likely not what was meant.

    Args:
        systems: name -> hypotheses, one a sentence.
        references: name -> reference translations, one a sentence.
        allow_subword: whether ``@@`` and ``▁`` are ordinary text.

    Raises:
        ValueError: if there is no system or no reference, a text has no line, two texts differ in
            length, or a text carries subword marks.
    """
    if not systems or not references:
        raise ValueError("nothing to score; give at least one system and one reference")
    texts = [(f"reference {name}", lines) for name, lines in references.items()]
    texts += [(f"system {name}", lines) for name, lines in systems.items()]
    _refuse_empty_and_unequal(texts)
    if not allow_subword:
        for name, lines in references.items():
            _refuse_subword_marks(f"reference {name}", lines, "pass the raw text as reference")
        for name, lines in systems.items():
            advice = (
                "pass --remove-bpe (subword-nmt) or --remove-bpe sentencepiece to fairseq-generate"
            )
            _refuse_subword_marks(f"system {name}", lines, advice)
    for label, lines in texts:
        _warn_of_empty_lines(label, lines)
        _warn_of_tokenised_periods(label, lines)


def _refuse_empty_and_unequal(texts: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Raise ValueError if a text is empty or not as long as the first."""
    for label, lines in texts:
        if not lines:
            raise ValueError(f"{label} is empty; give one sentence a line")
    first_label, first = texts[0]
    for label, lines in texts[1:]:
        if len(lines) != len(first):
            raise ValueError(
                f"{label} has {len(lines)} lines but {first_label} has {len(first)}; "
                "give outputs and references of the same test set, line by line, and pass "
                "--required-batch-size-multiple 1 to fairseq-generate so that it drops none"
            )


def _refuse_subword_marks(label: str, lines: Sequence[str], advice: str) -> None:
    """Raise ValueError if a text carries subword marks, with advice."""
    marked = count_subword_marks(lines)
    if marked:
        raise ValueError(
            f"{marked} of {len(lines)} lines of {label} carry subword marks (@@ or ▁), which "
            f"makes the scores wrong; {advice}, or --allow-subword if the marks are real text"
        )


def _warn_of_empty_lines(label: str, lines: Sequence[str]) -> None:
    """Log one warning if lines are empty."""
    empty = sum(not line.strip() for line in lines)
    if empty:
        logger.warning(
            "%d of %d lines of %s are empty; they are scored as empty translations",
            *(empty, len(lines), label),
        )


def _warn_of_tokenised_periods(label: str, lines: Sequence[str]) -> None:
    """Log one warning if many lines end in a period set off by a space."""
    periods = sum(line.endswith(" .") for line in lines)
    if periods >= min(_TOKENISED_PERIODS, (len(lines) + 1) // 2):
        logger.warning(
            "%d of %d lines of %s end in a tokenized period (' .'): it looks like you forgot to "
            "detokenize, which may hurt the score and makes it incomparable",
            *(periods, len(lines), label),
        )
