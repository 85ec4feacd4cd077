"""Reading of dictionaries and lists as Python prints them, also where values print as bare words.

fairseq logs its config by ``repr``; choices among names print as ``rows`` or ``pass`` without
quotes, so that Python's own parser refuses the text. Nothing of the text is run.
"""

import argparse
import ast
import re
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<word><[^>]*>|[^\s,:{}\[\]()='"]+)"""
    r"""|(?P<mark>[,:{}\[\]()=]))"""
)
_CONSTANTS = {"None": None, "True": True, "False": False}
_CLOSING = {"{": "}", "[": "]", "(": ")"}
_DEEPEST = 50


def parse_repr(text: str) -> Any:
    """Read the ``repr`` of plain values.

    Args:
        text: of dictionaries, lists, tuples, ``Namespace(...)``, strings, numbers and bare words.

    Returns:
        The value: tuples as lists, bare words as text.

    Raises:
        ValueError: if the text is not of this form.

    Example:
        >>> parse_repr("{'lr': [0.1, inf], 'place': rows, 'model': Namespace(arch='lstm', n=None)}")
        {'lr': [0.1, inf], 'place': 'rows', 'model': Namespace(arch='lstm', n=None)}
    """
    reader = _Reader(text)
    value = reader.value(0)
    if reader.mark:
        raise ValueError("text follows the value")
    return value


class _Reader:
    """Walk over the tokens of a text; ``mark`` and ``token`` are of the next one."""

    def __init__(self, text: str):
        self._text = text.strip()
        self._position = 0
        self.mark = self.token = ""
        self._advance()

    def value(self, depth: int) -> Any:
        """Read one value."""
        if depth > _DEEPEST:
            raise ValueError("the value is nested too deeply")
        kind, token = self.mark, self.token
        self._advance()
        if kind == "string":
            return ast.literal_eval(token)
        if kind == "word":
            if self.token != "(" or self.mark != "mark":
                return _word(token)
            self._advance()
            items = self._items(")", "=", depth)
            return argparse.Namespace(**dict(items)) if token == "Namespace" else token
        if token == "{":
            return dict(self._items("}", ":", depth))
        if token in _CLOSING:
            return [item for _, item in self._items(_CLOSING[token], "", depth)]
        raise ValueError(f"{token or 'the end'} stands where a value should")

    def _items(self, closing: str, separator: str, depth: int) -> list[tuple[str, Any]]:
        """Read what a bracket holds, to its end: values, after keys where there is a separator."""
        items: list[tuple[str, Any]] = []
        while self.token != closing or self.mark != "mark":
            key = ""
            if separator:
                key = str(self.value(depth + 1))
                self._expect(separator)
            items.append((key, self.value(depth + 1)))
            if self.token != closing:
                self._expect(",")
        self._advance()
        return items

    def _expect(self, token: str) -> None:
        if self.mark != "mark" or self.token != token:
            raise ValueError(f"{self.token or 'the end'} stands where {token} should")
        self._advance()

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            if self._text[self._position :].strip():
                raise ValueError("a quotation does not end")
            self.mark = self.token = ""
            return
        self.mark, self._position = str(match.lastgroup), match.end()
        self.token = match[self.mark]


def _word(word: str) -> Any:
    """Return a constant or a number, else the word."""
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
