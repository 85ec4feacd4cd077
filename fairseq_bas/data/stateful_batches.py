"""Mini-batches that bring the recurrent state of their streams along."""

from collections.abc import Iterator
from typing import Any, Protocol

from ..nn.carried_state import CarriedState

Sample = dict[str, Any]


class Batches(Protocol):
    """Name what an iterator over the windows of a text can do."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...


class StatefulBatches:
    """Hand one state from batch to batch, where the caller only knows the model's inputs.

    Args:
        batches: the windows of a text, in order.
    """

    def __init__(self, batches: Batches):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Sample]:
        state = CarriedState()
        for sample in self.batches:
            yield with_state(sample, state)


def with_state(sample: Sample, state: CarriedState) -> Sample:
    """Return a mini-batch whose model input has ``state``; the one given is not changed."""
    return {**sample, "net_input": {**sample["net_input"], "state": state}}
