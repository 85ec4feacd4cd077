"""Put something else in a place of fairseq's for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let ``owner.name`` be ``value`` inside of the block.

    Args:
        owner: a module or a class.
        name: of one of its attributes; a class may inherit it.
        value: what it is meanwhile.

    >>> import math
    >>> with replaced(math, "pi", 3):
    ...     math.pi
    3
    >>> math.pi > 3
    True
    """
    inherited = name not in vars(owner)
    before = None if inherited else vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
