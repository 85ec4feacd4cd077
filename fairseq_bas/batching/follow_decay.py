"""Batches that grow where the base schedule of the learning rate decays."""

from ..config import Clock
from .bounds import Bounds
from .controller import BatchController
from .decision import Decision


class FollowDecay(BatchController):
    """Make the batch B = 1/d, where d is the base learning rate as a share of its peak.

    With the exponent a of a rule, lr ~ B^a, the learning rate is what keeps lr / B^a = peak · d,
    as in the plain run, at every clock:

        up to the maximum   lr / peak = B^(a - 1)
        at the maximum      lr / peak = d · maximum^a,   which is the decay of the base schedule.

    With a step, B is rounded down to its powers and the learning rate is kept between two of them;
    the equality then holds where B changes. Where d rises again, in a cycle or after a restart,
    the batch shrinks with it. During warm-up d counts as 1.

    Args:
        bounds: the maximum, the step, and the minimum, which must be that of the start, 1x.
    """

    follows_decay = True
    couples_lr = True
    exponent: float
    rule: str

    def __init__(self, bounds: Bounds):
        self.bounds = bounds

    def decide(self, clock: Clock, decay: float) -> Decision:
        """Return batch and learning rate for ``decay``, whatever the clock."""
        top = self.bound()
        if decay * top <= 1:
            return Decision(top, self._lr_factor(top, 1 / top))
        multiple = self.bounds.apply(1 / min(decay, 1.0), self.base)
        return Decision(multiple, self._lr_factor(multiple, decay))

    def _lr_factor(self, multiple: float, decay: float) -> float:
        """Return lr / (peak · d); at the maximum it no longer depends on d."""
        return multiple ** (self.exponent - 1) / decay

    def bound(self) -> float:
        """Return the maximum, rounded."""
        return self.bounds.top(self.base)

    def describe(self) -> str:
        """Return the rule and the bounds."""
        return f"{self.name}: batch times 1/d for lr times d, {self.rule}, {self.bounds}"


class Smith(FollowDecay):
    """Grow the batch instead of decaying the learning rate (Smith et al. 2017, 1711.00489).

    a = 1: the learning rate stays at its peak and the learning rate per sentence follows the base
    schedule. At the maximum, published as a tenth of the data, the learning rate decays.

    >>> from fairseq_bas.batching.amount import Amount, BaseBatch
    >>> controller = Smith(Bounds(Amount(1), Amount(16)))
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> controller.decide(Clock(), decay=0.25)  # lr = 4 · 0.25 · peak
    Decision(multiple=4.0, lr_factor=4.0)
    """

    name = "smith"
    exponent = 1.0
    rule = "lr kept"


class Seesaw(FollowDecay):
    """Split each decay between batch and learning rate (Meterez et al. 2025, 2510.14717).

    a = 1/2, the rule for Adam: where the base schedule multiplies the learning rate by d, it is
    multiplied by √d and the batch by 1/d. It holds below the critical batch.

    >>> from fairseq_bas.batching.amount import Amount, BaseBatch
    >>> controller = Seesaw(Bounds(Amount(1), Amount(16)))
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> controller.decide(Clock(), decay=0.25)  # lr = 2 · 0.25 · peak = √0.25 · peak
    Decision(multiple=4.0, lr_factor=2.0)
    """

    name = "seesaw"
    exponent = 0.5
    rule = "lr times the square root of d"


class FollowLr(FollowDecay):
    """Grow the batch as the learning rate decays, which it does all the same.

    Marian's ``--mini-batch-track-lr``: the learning rate per sentence falls with the square of d.

    >>> from fairseq_bas.batching.amount import Amount, BaseBatch
    >>> controller = FollowLr(Bounds(Amount(1), Amount(16)))
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> controller.decide(Clock(), decay=0.25)
    Decision(multiple=4.0, lr_factor=1.0)
    """

    name = "follow-lr"
    couples_lr = False
    rule = "lr as scheduled"

    def _lr_factor(self, multiple: float, decay: float) -> float:
        return 1.0
