r"""Turn catalogue entries into clean sentence pairs, and split them without overlap.

A pair survives when, after its text is cleaned (:func:`clean`), the source has three words or more,
each side has at most 60, at least half of them words of a language rather than placeholders,
addresses or code, and the sides differ but not in length by more than a factor of three. The
target may be shorter than three words: German writes "ticket shop settings" as one.

No two pairs of a corpus share a source or target key (:func:`key`): near-duplicates that differ in
case, digits, punctuation, placeholders or markup only are dropped, so they cannot straddle splits.
"""

import hashlib
import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

Pair = tuple[str, str]

MIN_WORDS, MAX_WORDS = 3, 60
MAX_RATIO = 3  # letters of the longer side over letters of the shorter one

_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_HIDDEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff\x00-\x08\x0e-\x1f]")
_ACCELERATOR = re.compile(r"(?<!\w)&(?=\w)|(?<=\w)\s*\(&\w\)")
_PLACEHOLDER = re.compile(
    r"\{\{.*?\}\}|\$?\{[^{}]*\}|%\{\w+\}|%\([\w.]+\)[#0\- +.\d]*[a-zA-Z]|%[\d$.]*[sdfgir]\b|%\d\b"
)
_MARK = re.compile(r"X[1-9]\d*")
_GLUED = re.compile(r"[^\W_]X[1-9]|X[1-9]\d*[^\W\d_]")
_ADDRESS = re.compile(r"\b\w+://\S+|\bwww\.\S+|\S+@\S+\.\w+|\S+\.(?:com|org|net|de|io)\b")
_CODE = re.compile(r"\S*[_=<>{}\[\]`\\|$#]\S*|\S*\w[./:]\w\S*|\S*\(\)\S*|--?\w\S*")
_WORD = re.compile(r"[^\W\d_]{2,}|\b[aAI]\b")


def clean(text: str) -> str:
    r"""Return one line of plain text: no markup, no accelerator marks, single spaces, NFC.

    Args:
        text: a catalogue string; may hold HTML, ``&`` before a keyboard shortcut, line ends.

    Returns:
        The text.

    >>> clean("<b>&amp;Save</b>\n  the&nbsp;file &hellip;")
    'Save the file …'
    """
    text = tidy(_ACCELERATOR.sub("", html.unescape(_TAG.sub(" ", text))))
    # A removed tag leaves a space before the punctuation that followed it.
    return re.sub(r" (?=[.,;:!?](?:\s|$))", "", text)


def tidy(text: str) -> str:
    r"""Return one line without control characters and soft hyphens: single spaces, NFC.

    Args:
        text: any text.

    Returns:
        The text, which a program that splits lines anywhere reads as one.

    >>> tidy("u\u0308ber\u2028Soft\u00adware\r\n")
    'über Software'
    """
    return " ".join(unicodedata.normalize("NFC", _HIDDEN.sub("", text)).split())


def number_placeholders(source: str, target: str) -> Pair:
    """Write placeholders as X1, X2, ... in the order of the source.

    ``%(name)s`` would count as five equal tokens in BLEU, and a copy of the source would
    score 12 on this corpus; one short token each keeps the score about language.

    Args:
        source: a cleaned sentence.
        target: its translation; the same placeholder gets the same number as in the source.

    Returns:
        Both sentences.

    >>> number_placeholders("%s: {a} of {b}", "{b} hat {a}: %s")
    ('X1: X2 of X3', 'X3 hat X2: X1')
    """
    numbers: dict[tuple[str, int], str] = {}

    def number(text: str) -> str:
        occurrences: Counter[str] = Counter()

        def mark(match: re.Match) -> str:
            occurrences[match[0]] += 1
            return numbers.setdefault((match[0], occurrences[match[0]]), f"X{len(numbers) + 1}")

        return _PLACEHOLDER.sub(mark, text)

    return number(source), number(target)


def words(text: str) -> int:
    """Return the number of words of a language: without placeholders, addresses and code.

    >>> words("Send X1 mails to a@b.org via smtp_host now")
    5
    """
    plain = _CODE.sub(" ", _ADDRESS.sub(" ", text))
    return len(_WORD.findall(plain))


def is_good(source: str, target: str) -> bool:
    """Tell whether a cleaned pair is a translated sentence; the rules are in the module docstring.

    >>> is_good("Please save the file.", "Bitte die Datei sichern.")
    True
    >>> is_good("Please save the file.", "Please save the file.")
    False
    """
    if source.casefold() == target.casefold():
        return False
    if len(source.split()) < MIN_WORDS:
        return False
    for text in (source, target):
        tokens = len(text.split())
        if tokens > MAX_WORDS or 2 * words(text) < tokens:
            return False
        if _GLUED.search(text):  # a placeholder for markup: "click X1hereX2"
            return False
    long, short = sorted((len(key(source)), len(key(target))), reverse=True)
    return long <= MAX_RATIO * short


def key(text: str) -> str:
    """Return what makes a sentence itself: its lower-cased letters, without placeholders.

    >>> key("The order #X1 was paid.") == key("The order was paid")
    True
    """
    return "".join(filter(str.isalpha, _MARK.sub("", text).casefold()))


def distinct_pairs(catalogues: Mapping[str, Iterable[Pair]]) -> dict[str, list[Pair]]:
    """Clean all catalogues and keep the first pair of every source key and every target key.

    Args:
        catalogues: raw (source, target) entries by catalogue name, in order of preference.

    Returns:
        Clean pairs by catalogue name, in their order; no key occurs twice over all catalogues.
    """
    seen: tuple[set[str], set[str]] = (set(), set())
    result: dict[str, list[Pair]] = {}
    for name, entries in catalogues.items():
        kept = result.setdefault(name, [])
        for raw_source, raw_target in entries:
            source, target = number_placeholders(clean(raw_source), clean(raw_target))
            keys = key(source), key(target)
            if is_good(source, target) and not any(k in s for k, s in zip(keys, seen, strict=True)):
                kept.append((source, target))
                for k, s in zip(keys, seen, strict=True):
                    s.add(k)
    return result


def split(
    catalogues: Mapping[str, Sequence[Pair]], valid: int, test: int, block: int
) -> dict[str, list[tuple[str, Pair]]]:
    """Hold out runs of neighbouring entries, chosen by a hash, from every catalogue.

    Neighbours in a catalogue come from the same page of the program and resemble each other, so
    whole runs go to one split, as whole documents do elsewhere. The choice depends on names and
    positions only: it needs no seed and is the same on every machine.

    Args:
        catalogues: clean pairs by catalogue name, without duplicates.
        valid: pairs of the validation split.
        test: pairs of the test split.
        block: neighbouring pairs in a run; the last run of a split is cut to fit.

    Returns:
        ``train``, ``valid``, ``test``: (catalogue name, pair), each in catalogue order.

    Raises:
        ValueError: there are not more pairs than are to be held out.
    """
    sizes = {name: len(pairs) for name, pairs in catalogues.items()}
    result: dict[str, list[tuple[str, Pair]]] = {"train": [], "valid": [], "test": []}
    for (name, start), (to, taken) in choose_runs(sizes, valid, test, block).items():
        result[to] += [(name, pair) for pair in catalogues[name][start : start + taken]]
    return result


def choose_runs(
    sizes: Mapping[str, int], valid: int, test: int, block: int
) -> dict[tuple[str, int], tuple[str, int]]:
    """Choose the split of every run of neighbours; :func:`split` says how.

    Args:
        sizes: pairs of every catalogue by its name.
        valid: pairs of the validation split.
        test: pairs of the test split.
        block: neighbouring pairs in a run.

    Returns:
        (catalogue name, first pair) -> (split, pairs taken from that one on), in catalogue order.

    Raises:
        ValueError: there are not more pairs than are to be held out.
    """
    total = sum(sizes.values())
    if total <= valid + test:
        raise ValueError(f"{total} pairs are too few to hold out {valid} and {test} of them")
    runs = [(name, start) for name, size in sizes.items() for start in range(0, size, block)]
    order = sorted(runs, key=lambda run: hashlib.sha256(f"{run[0]}:{run[1]}".encode()).digest())
    room = {"test": test, "valid": valid, "train": total}
    chosen: dict[tuple[str, int], tuple[str, int]] = {}
    for name, start in order:
        to = next(split for split, left in room.items() if left)
        taken = min(room[to], block, sizes[name] - start)
        room[to] -= taken
        chosen[name, start] = (to, taken)
    return {run: chosen[run] for run in runs}
