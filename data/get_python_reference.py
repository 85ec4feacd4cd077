"""Make an English corpus for language models from the Python language reference.

The text is ``pydoc_data.topics`` of the standard library that runs this script: nothing is
downloaded, and each Python version gives a slightly different corpus (about 2,400 sentences,
50,000 tokens). One sentence a line in running order.

Kept is prose only: headings, grammar, code, tables, terms of definition lists and notes of the
kind "New in version 3.8" go, and so do the marks of emphasis and of code. Topics quote each
other; a paragraph that occurs twice is kept where it comes first, in the longest topic, so
no paragraph is in two splits. Tokens are words, with inner apostrophes and hyphens and underscores,
and single punctuation marks, separated by spaces.

Split: whole topics, taken in the order of a hash of their name, fill test and then valid with up
to a tenth of the tokens each; the others are train.
"""

import argparse
import hashlib
import importlib
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import corpus_files
from corpus_files import CorpusError

HELD_OUT = 0.1

_RULE = re.compile(r"\s*([*=\-~^\"#+|])\1{2,}")
_CODE = re.compile(r"^\s*(>>>|\.\.\. |[+|]|@\w)|::=|^\s*\w+ = |[{}]\s*$|\S {2,}# ", re.MULTILINE)
_BULLET = re.compile(r"\A\s*(?:[*\-]|\d+\.|\[\d+\])\s+")
_VERSION = re.compile(r"(?:New|Added|Changed|Deprecated|Removed)[\w ,-]* version [\w. ,]*\w\s*[:.]")
_LABEL = re.compile(r"(?:Note|See also|Warning|Example|CPython implementation detail):\s*")
_MARKUP = re.compile(r"(?<!\w)\*{1,2}(?=\w)|(?<=\w)\*{1,2}(?!\w)|\"")
_END = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)([.?!][)”’]*)\s+(?=[“‘(]?[A-Z])")
_TOKEN = re.compile(r"(?:\b[a-z]\.){2,}|\w+(?:['’-]\w+)*|[^\w\s]")
_WORD = re.compile(r"[A-Za-z][a-z]*(?:['’-][a-z]+)*")


def paragraphs(text: str) -> list[str]:
    r"""Return the prose of a topic, a paragraph a line, without its markup.

    Args:
        text: the topic as ``pydoc`` prints it: paragraphs between empty lines, code indented.

    Returns:
        Paragraphs in order, each of one or more sentences.

    >>> paragraphs("Title\n*****\n\nThe *name* is bound to\nan object:\n\n   x = f(y)\n")
    ['The name is bound to an object:']
    """
    prose = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.split("\n") if line.strip()]
        if len(lines) > 1 and _indent(lines[1]) > _indent(lines[0]) and not _BULLET.match(block):
            lines = lines[1:]  # the term that the indented lines define
        block = "\n".join(lines)
        if not lines or any(map(_RULE.match, lines)) or _CODE.search(block):
            continue
        line = re.sub(r"(?<=\w)-\n\s*(?=\w)", "-", block)
        line = " ".join(_MARKUP.sub("", _BULLET.sub("", line)).split())
        line = _LABEL.sub("", _VERSION.sub("", line)).strip()
        if _is_prose(line):
            prose.append(line)
    return prose


def _indent(line: str) -> int:
    """Return the number of spaces before the first character."""
    return len(line) - len(line.lstrip())


def _is_prose(line: str) -> bool:
    """Tell whether a line ends like a sentence and consists mostly of plain words."""
    tokens = line.split()
    plain = sum(bool(_WORD.fullmatch(token.strip(".,;:!?()“”‘’"))) for token in tokens)
    return len(tokens) >= 4 and line[-1] in ".:!?)”" and plain >= 0.7 * len(tokens)


def sentences(paragraph: str) -> list[str]:
    """Split a paragraph into sentences, each as tokens separated by spaces.

    >>> sentences("Call f(x), e.g. Once. It can't fail.")
    ['Call f ( x ) , e.g. Once .', "It can't fail ."]
    """
    return [" ".join(_TOKEN.findall(s)) for s in _END.sub(r"\1\n", paragraph).split("\n")]


def distinct_topics(topics: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the tokenised sentences of each topic, without paragraphs of a longer topic.

    Args:
        topics: text by topic name.

    Returns:
        Sentences by topic name, in the order of the names; empty topics are left out.
    """
    seen: set[str] = set()
    result = {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        new = [p for p in dict.fromkeys(paragraphs(topics[name])) if p not in seen]
        seen.update(new)
        if new:
            result[name] = [sentence for paragraph in new for sentence in sentences(paragraph)]
    return dict(sorted(result.items()))


def split(topics: Mapping[str, Sequence[str]], held_out: float) -> dict[str, list[str]]:
    """Assign whole topics to splits by a hash of their name.

    Args:
        topics: sentences by topic name.
        held_out: most tokens of test, and of valid, as a share of all, in (0, 0.5).

    Returns:
        Topic names of ``train``, ``valid`` and ``test``, sorted.
    """
    sizes = {name: corpus_files.count_words(lines) for name, lines in topics.items()}
    limit = held_out * sum(sizes.values())
    room = {"test": limit, "valid": limit, "train": float("inf")}
    result: dict[str, list[str]] = {name: [] for name in corpus_files.SPLITS}
    for name in sorted(topics, key=lambda name: hashlib.sha256(name.encode()).digest()):
        to = next(split for split, left in room.items() if sizes[name] <= left)
        room[to] -= sizes[name]
        result[to].append(name)
    return {name: sorted(chosen) for name, chosen in result.items()}


def main(arguments: Sequence[str] | None) -> str:
    """Make the corpus and return its summary, or say that it is there already."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = corpus_files.cache_folder() / "python_reference"
    parser.add_argument("--out", type=Path, default=default, help="folder to make [%(default)s]")
    parser.add_argument("--lower", action="store_true", help="write everything in lower case")
    args = parser.parse_args(arguments)
    try:
        source = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        raise CorpusError(
            "this Python comes without pydoc_data.topics; install its full standard library"
        ) from None
    topics = distinct_topics(source)
    names = split(topics, HELD_OUT)
    files = {f"{s}.txt": [line for name in names[s] for line in topics[name]] for s in names}
    if args.lower:
        files = {name: [line.lower() for line in lines] for name, lines in files.items()}
    return corpus_files.publish(args.out, files, summary(names, files, args.lower))


def summary(
    names: Mapping[str, Sequence[str]], files: Mapping[str, Sequence[str]], lower: bool
) -> str:
    """Return the README: source, licence, sizes and topics of the splits."""
    version = platform.python_version()
    lines = [
        "English sentences of the Python language reference, one a line in running order, "
        + ("tokenised, in lower case." if lower else "tokenised."),
        f"Made by data/get_python_reference.py from pydoc_data.topics of Python {version}.",
        "Licence: PSF License Version 2, copyright Python Software Foundation.",
        "",
    ]
    for name in names:
        text = files[f"{name}.txt"]
        types = len({token for line in text for token in line.split()})
        size = corpus_files.count_words(text)
        lines.append(f"{name}: {len(text)} sentences, {size} tokens, {types} distinct tokens")
    lines += [f"topics of {name}: {' '.join(names[name])}" for name in ("valid", "test")]
    return "\n".join(lines)


if __name__ == "__main__":
    corpus_files.command(main)
