"""An update that takes more micro-batches while it is being made."""

from collections.abc import Callable, Iterator
from typing import Any

_UNKNOWN = 1 << 30


class ExtendedUpdate:
    """Yield the micro-batches of an update, and then more as long as there are.

    It stands in for the list that fairseq's trainer goes through. Its length, by which the trainer
    tells the last micro-batch, is not known before the end; until then it is a large number.

    Args:
        first: the micro-batches that it holds in any case.
        more: gives the next one, or None if it is enough.
    """

    def __init__(self, first: list[Any], more: Callable[[], Any | None]):
        self._batches = list(first)
        self._more: Callable[[], Any | None] | None = more

    def __len__(self) -> int:
        return len(self._batches) if self._more is None else _UNKNOWN

    def __getitem__(self, index: int) -> Any:
        return self._batches[index]

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while True:
            if position == len(self._batches):
                batch = self._more() if self._more is not None else None
                if batch is None:
                    self._more = None
                    return
                self._batches.append(batch)
            yield self._batches[position]
            position += 1
