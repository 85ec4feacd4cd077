"""The parameters of some updates ago, kept for attacks that need not wait for the newest ones."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class StaleParameters:
    """Keep what the parameters were before each of the last tau updates.

    Memory: tau times that of the parameters, and once more while the optimizer takes its step. A
    checkpoint holds tau of them.

    Args:
        staleness: tau, >= 0; with 0 nothing is kept and nothing changes.
    """

    def __init__(self, staleness: int):
        self.staleness = staleness
        # (updates taken, the parameters then), oldest first.
        self._kept: deque[tuple[int, list[Tensor]]] = deque()

    def keep(self, update_num: int, parameters: Sequence[nn.Parameter]) -> None:
        """Keep the parameters after ``update_num`` updates; call it before the next one."""
        if self.staleness == 0:
            return
        # Half precision repeats an update that overflowed, and a reset optimizer counts from 0.
        while self._kept and self._kept[-1][0] >= update_num:
            self._kept.pop()
        while len(self._kept) > self.staleness:
            self._kept.popleft()
        self._kept.append((update_num, [p.detach().clone() for p in parameters]))

    @contextmanager
    def in_place_of(self, update_num: int, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Give the parameters their values of tau updates ago; in the first tau updates, the first.

        Values change places, they are not copied, so that they come back bit by bit.

        Args:
            update_num: updates taken so far.
            parameters: as given to `keep`.
        """
        stale = self._before(update_num)
        if stale is None:
            yield
            return
        present = [parameter.data for parameter in parameters]
        try:
            for index, parameter in enumerate(parameters):
                stale[index] = stale[index].to(parameter)  # restored values are on the CPU
                parameter.data = stale[index]
            yield
        finally:
            for parameter, value in zip(parameters, present, strict=True):
                parameter.data = value

    def _before(self, update_num: int) -> list[Tensor] | None:
        """Return the parameters to use, None for the present ones; drop what is too old."""
        while self._kept and self._kept[0][0] < update_num - self.staleness:
            self._kept.popleft()
        if not self._kept or self._kept[0][0] >= update_num:
            return None
        return self._kept[0][1]

    def state_dict(self) -> dict[str, Any]:
        """Return what the next tau updates need, on the CPU."""
        kept = list(self._kept)[-self.staleness :] if self.staleness else []
        return {
            "updates": [number for number, _ in kept],
            "parameters": [[value.cpu().clone() for value in values] for _, values in kept],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        pairs = zip(state_dict["updates"], state_dict["parameters"], strict=True)
        self._kept = deque((number, list(values)) for number, values in pairs)
