"""Batches that change at stated times: ``1x@0,2x@5e,4x@20000u``, or one amount throughout."""

from ..config import Clock, Schedule
from .amount import Amount
from .controller import BatchController
from .decision import Decision


class Piecewise(BatchController):
    """Take the amount of the last step written that has been reached.

    fairseq's own ``--update-freq`` list does this for epochs, OpenNMT-py's ``accum_steps`` for
    updates.

    Args:
        schedule: amounts and the clocks from which they hold.

    >>> from fairseq_bas.batching.amount import BaseBatch
    >>> from fairseq_bas.batching.policy import parse_batch_schedule
    >>> controller = parse_batch_schedule("1x@0,256s@5e")
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> [controller.decide(Clock(epochs=e), decay=1.0).multiple for e in (4, 5)]
    [1.0, 4.0]
    """

    name = "piecewise"

    def __init__(self, schedule: "Schedule[Amount]"):  # type: ignore[type-var]
        self.schedule = schedule

    def decide(self, clock: Clock, decay: float) -> Decision:
        """Return the batch that holds at ``clock``."""
        return Decision(self.bounds.apply(self.schedule.at(clock).multiple(self.base), self.base))

    def bound(self) -> float:
        """Return the largest of its batches."""
        largest = max(amount.multiple(self.base) for amount in self.schedule.values)
        return self.bounds.apply(largest, self.base)

    def describe(self) -> str:
        """Return the schedule as it was written."""
        return f"piecewise {self.schedule}"
