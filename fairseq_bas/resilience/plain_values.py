"""Read option values that are written as Python, without running them as Python.

fairseq gives some options to ``eval``, e.g. ``--adam-betas "(0.9, 0.98)"``, cutoffs of adaptive
softmax and layers of convolutional models. Options of a model also come out of a checkpoint, so one
from elsewhere could hold any program there. What is understood here is what such options need:
numbers, texts, truth values, None, lists, tuples, sets and dicts of these, and sums, differences
and products of them as in ``[(512, 3)] * 20``.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any

LONGEST_TEXT, LONGEST_LIST = 100_000, 10_000
"""Characters of a value; elements of a list or tuple that a sum or product makes."""

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def plain_value(text: str) -> Any:
    """Evaluate a constant expression; names, calls and attributes are refused.

    Args:
        text: the expression, at most `LONGEST_TEXT` characters.

    Returns:
        What ``eval`` would return.

    Raises:
        ValueError: if it is anything else than a constant expression, in one sentence.
        TypeError: if it is no text, as ``eval`` raises for what has a value already.

    Example:
        >>> plain_value("[(512, 3)] * 2 + [(768, 3)]")
        [(512, 3), (512, 3), (768, 3)]
        >>> plain_value("__import__('os').getcwd()")
        Traceback (most recent call last):
        ValueError: the option value "__import__('os').getcwd()" is no constant but a program, \
which is not run; write numbers, texts, lists, tuples and dicts only
    """
    if not isinstance(text, str):
        raise TypeError(f"a text was expected, not {type(text).__name__}")
    try:
        if len(text) > LONGEST_TEXT:
            raise ValueError("it is too long")
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise ValueError(
            f'the option value "{shown}" is no constant but a program, which is not run; write '
            "numbers, texts, lists, tuples and dicts only"
        ) from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _combined(_OPERATORS[type(node.op)], _value(node.left), _value(node.right))
    if isinstance(node, ast.List):
        return [_value(element) for element in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(element) for element in node.elts)
    return ast.literal_eval(node)


def _combined(operate: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Combine two values, if the result is not large."""
    lists = [value for value in (left, right) if isinstance(value, list | tuple)]
    if operate is operator.mul:
        factor = right if lists and lists[0] is left else left
        if isinstance(left, str) or isinstance(right, str):
            raise ValueError("a text is not repeated")
        if lists and len(lists[0]) * factor > LONGEST_LIST:
            raise ValueError("the list would be too long")
    return operate(left, right)
