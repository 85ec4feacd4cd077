"""The batch schedule ``cyclic:every=1e,max=4x``: the plain batch and a large one in turns."""

from fairseq_bas.batching.controller import BatchController
from fairseq_bas.batching.decision import Decision
from fairseq_bas.batching.options import amount, span
from fairseq_bas.batching.policy import Form, register_batch_schedule


class Cyclic(BatchController):
    """Take 1 and ``largest`` in turns, each for the span ``every``."""

    name = "cyclic"

    def __init__(self, every, largest):
        self.every, self.largest = every, largest

    def decide(self, clock, decay):
        """Return the batch; a function of the clock alone, so that there is no state to save."""
        is_large = int(self.every.elapsed(clock)) % 2 == 1
        return Decision(self.largest.multiple(self.base) if is_large else 1.0)

    def bound(self):
        """Return the larger batch."""
        return max(1.0, self.largest.multiple(self.base))

    def describe(self):
        """Return what the summary of a run says."""
        return f"cyclic: 1x and {self.largest} in turns of {self.every}"


KEYS = {
    "every": span("a turn, such as 1e"),
    "max": amount("the large batch, such as 4x", None, True),
}
EXAMPLE = "cyclic:every=1e,max=4x"
register_batch_schedule("cyclic", Form(lambda o: Cyclic(o["every"], o["max"]), KEYS, EXAMPLE))
