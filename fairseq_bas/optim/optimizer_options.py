"""Options of optimizers as people write them in flags, read without running them."""

import ast
import warnings
from collections.abc import Sequence
from typing import Any


def parse_options(text: str) -> dict[str, Any]:
    """Read ``name=value`` pairs whose values are Python literals.

    Args:
        text: pairs separated by commas, such as ``weight_decay=0.1,betas=(0.9,0.99)``; may be
            empty.

    Returns:
        The values by name.

    Raises:
        ValueError: if the text is anything else.

    Example:
        >>> parse_options("weight_decay=0.1,betas=(0.9,0.99)")
        {'weight_decay': 0.1, 'betas': (0.9, 0.99)}
    """
    problem = ValueError(
        f"{text!r} is not a list of name=value; write numbers, quoted text, tuples, True, False "
        "or None, as in weight_decay=0.1,betas=(0.9,0.99)"
    )
    try:
        with warnings.catch_warnings(action="ignore"):  # of the syntax, which is not Python's here
            call = ast.parse(f"dict({text.strip()})", mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise problem from None
    # Text such as "a=1).b(c=2" is a call too, of something else than the name.
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise problem
    names = [keyword.arg for keyword in call.keywords]
    if None in names or len(set(names)) < len(names):
        raise problem
    try:
        return {str(pair.arg): ast.literal_eval(pair.value) for pair in call.keywords}
    except ValueError:
        raise problem from None


def parse_betas(value: str | Sequence[float]) -> tuple[float, float]:
    """Read two decay rates, from text such as fairseq's ``--adam-betas '(0.9, 0.98)'``.

    Args:
        value: text, or a sequence of two numbers.

    Returns:
        Both as floats; their range is checked by the optimizers.

    Raises:
        ValueError: if these are not two numbers.

    Example:
        >>> parse_betas("(0.9, 0.98)")
        (0.9, 0.98)
    """
    try:
        numbers = ast.literal_eval(value.strip()) if isinstance(value, str) else value
        first, second = numbers
        return float(first), float(second)
    except (SyntaxError, ValueError, TypeError):
        raise ValueError(f"{value} is not a pair of numbers; write (0.9, 0.98)") from None
