"""What the documentation shows: blocks of code, the commands in them, and flags in its text.

A block with a command has a comment in the line before it, which no reader of the rendered page
sees: ``<!-- runs -->``, and ``tests/cli/test_documented_commands.py`` runs it as it is printed, or
``<!-- shown: why it is not run -->``.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")))]
PROGRAMS = ("fairseq-", "python ", "bash ", "scripts/", "pip ", "torchrun ", "sbatch ")

_FENCE = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)(?:    --.*\n)+")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_FLAG = re.compile(r"(?<![\w<!-])--[a-zA-Z][\w-]*")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: where it stands, such as ``docs/guide.md``.
        line: of its first line of code, from 1.
        mark: what the comment before it says; empty without one.
        language: after the fence, such as ``python``; mostly empty, which is a shell.
        text: the code, line feeds included.
    """

    page: str
    line: int
    mark: str
    language: str
    text: str

    @property
    def runs(self) -> bool:
        """Whether it is run as it is printed."""
        return self.mark == "runs"

    @property
    def is_command(self) -> bool:
        """Whether a reader would type it."""
        return any(line.startswith(PROGRAMS) for line in self.text.splitlines())

    def __str__(self) -> str:
        """Return the place, as editors read it."""
        return f"{self.page}:{self.line}"


def text_of(page: str) -> str:
    """Return the source of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text = text_of(page)
    return [
        Block(page, text.count("\n", 0, match.start(3)) + 1, match[1] or "", match[2], match[3])
        for match in _FENCE.finditer(text)
    ]


def commands(text: str) -> Iterator[list[str]]:
    r"""Yield the commands of a shell block as words, without comments, pipes and redirections.

    A placeholder such as ``<the flags of fairseq-train>`` is the word ``...``.

    >>> list(commands('a --b "c d" \\\n  <more> > e 2>&1 | f  # g\n\nh --i\n'))
    [['a', '--b', 'c d', '...'], ['f'], ['h', '--i']]
    """
    joined = re.sub(r"\\\n", " ", text)
    for line in re.sub(r"<[^<>\n]+>", "...", joined).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command: list[str] = []
        words = list(lexer)
        for index, word in enumerate(words):
            if word in ("|", "||", "&&", ";"):
                yield command
                command = []
            elif not _is_redirection(words, index):
                command.append(word)
        if command:
            yield command


def _is_redirection(words: list[str], index: int) -> bool:
    """Tell whether a word is ``>``, where it goes, or the number of a stream before it."""
    before, after = words[max(index - 1, 0)], words[min(index + 1, len(words) - 1)]
    return any(">" in word for word in (words[index], before)) or (
        words[index] == "2" and ">" in after
    )


def shown(page: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of all blocks of a page, with their place; flags alone are commands too.

    Blocks of another language, and what commands print, are left out.
    """
    for block in blocks(page):
        if block.language not in ("", "sh"):
            continue
        begins = ("--", *PROGRAMS) if block.text.startswith("--") else PROGRAMS
        for command in commands(block.text):
            if f"{command[0]} ".startswith(begins):
                yield str(block), command
    text = text_of(page)
    for match in _INDENTED.finditer(text):
        place = f"{page}:{text.count(chr(10), 0, match.start()) + 1}"
        yield from ((place, command) for command in commands(match[0]))


def mentioned(page: str) -> list[list[str]]:
    """Return the command lines within the sentences of a page, such as ```fairseq-bas plan DATA``.

    They are parts of a command as often as whole ones.
    """
    text = _FENCE.sub("", text_of(page))
    spans = [" ".join(span.split()) for span in _INLINE.findall(text)]
    lines = [span for span in spans if span.startswith(PROGRAMS) and " " in span]
    return [command for line in lines for command in commands(line)]


def flags(text: str) -> set[str]:
    """Return every flag in a text: words that begin with two hyphens.

    >>> sorted(flags("`--bas-ar 2`, --tar=1 <!-- no --> a--b --x-"))
    ['--bas-ar', '--tar', '--x-']
    """
    return set(_FLAG.findall(text))
