"""ABSA: batches that grow as the loss surface flattens, with adversarial copies before they do."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..config import Clock
from .amount import Span
from .bounds import Bounds
from .controller import BatchController
from .decision import Decision


class Absa(BatchController):
    r"""Multiply the batch when the top eigenvalue of the Hessian has dropped (Yao et al. 2018).

    Adaptive Batch Size with Adversarial training (arXiv 1810.01021). At fixed intervals the largest
    eigenvalue :math:`\lambda` of the Hessian is measured. With :math:`\lambda_{ref}` the first one,
    and from then on the one at the last drop, the batch is multiplied by beta

    - where :math:`\lambda \le \lambda_{ref} / \alpha`, which becomes the new reference;
    - where it has not grown in kappa measurements: the loss is then taken to be a bowl.

    The learning rate grows with the batch, by the same factor. The share of adversarial examples is
    divided by omega whenever the batch grows; it is 0 in the second part of training and once the
    batch has its maximum, when measuring ends too.

    An eigenvalue that is not finite tells nothing. One that is not above 0 (a saddle, early in
    training) is never taken for a drop: the paper's code follows the largest magnitude instead.

    Args:
        every: time between two measurements.
        drop: alpha, > 1.
        factor: beta, > 1.
        patience: kappa, measurements, >= 1.
        share: gamma, of examples that are adversarial at first, in [0, 1].
        relax: omega, >= 1.
        until: part of training after which none is adversarial, in [0, 1].
        sentences: that the Hessian is measured on, >= 1.
        bounds: limits and rounding; the minimum must be that of the start, 1x.

    Attributes:
        progress: tells, for a clock, how much of training has gone by, in [0, 1]; without it,
            nothing has.

    >>> from fairseq_bas.batching.amount import Amount, BaseBatch
    >>> bounds = Bounds(Amount(1), Amount(8))
    >>> controller = Absa(Span(1, "e"), 2.0, 2.0, 10, 0.2, 2.0, 0.5, 128, bounds)
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> for eigenvalue in (40.0, 25.0, 20.0):  # the third is half of the first
    ...     controller.observe_curvature(eigenvalue)
    >>> controller.decide(Clock(), 1.0), controller.adversarial_share(Clock())
    (Decision(multiple=2.0, lr_factor=2.0), 0.1)
    """

    name = "absa"
    couples_lr = True
    needs = frozenset({"curvature"})

    def __init__(
        self,
        every: Span,
        drop: float,
        factor: float,
        patience: int,
        share: float,
        relax: float,
        until: float,
        sentences: int,
        bounds: Bounds,
    ):
        self.every, self.drop, self.factor, self.patience = every, drop, factor, patience
        self.first_share, self.relax, self.until = share, relax, until
        self.sentences = sentences
        self.bounds = bounds
        self.progress: Callable[[Clock], float] = lambda clock: 0.0
        self._growths = 0
        self._idle = 0
        self._reference: float | None = None
        self._measured = 0

    @property
    def _multiple(self) -> float:
        try:
            grown = self.factor**self._growths
        except OverflowError:
            grown = math.inf
        return self.bounds.apply(grown, self.base)

    @property
    def is_largest(self) -> bool:
        """Whether the batch has its maximum, so that nothing is left to measure for."""
        return self._multiple >= self.bound()

    def is_due(self, clock: Clock) -> bool:
        """Tell whether the curvature is to be measured before the update at ``clock``."""
        return not self.is_largest and math.floor(self.every.elapsed(clock)) > self._measured

    def begin_measurement(self, clock: Clock) -> None:
        """Take note that the curvature is measured at ``clock``."""
        self._measured = math.floor(self.every.elapsed(clock))

    def observe_curvature(self, eigenvalue: float) -> None:
        """Take the largest eigenvalue of the Hessian of the mean loss; the same on all workers."""
        if not math.isfinite(eigenvalue):
            return
        self._idle += 1
        grows = self._idle >= self.patience
        if self._reference is None:
            self._reference = eigenvalue
        elif 0 < eigenvalue <= self._reference / self.drop:
            self._reference = eigenvalue
            grows = True
        if grows:
            self._idle = 0
            self._growths += 1

    def adversarial_share(self, clock: Clock) -> float:
        """Return the share of examples that are adversarial in the update at ``clock``."""
        if (self._growths and self.is_largest) or self.progress(clock) >= self.until:
            return 0.0
        return self.first_share / self.relax**self._growths

    def decide(self, clock: Clock, decay: float) -> Decision:
        """Return batch and learning rate after the growths so far."""
        multiple = self._multiple
        return Decision(multiple, multiple)

    def bound(self) -> float:
        """Return the maximum."""
        return self.bounds.top(self.base)

    def state_dict(self) -> dict[str, Any]:
        """Return the reference, the counters and when the curvature was measured last."""
        return {
            "growths": self._growths,
            "idle": self._idle,
            "reference": self._reference,
            "measured": self._measured,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that ``state_dict`` gave."""
        self._growths, self._idle = int(state["growths"]), int(state["idle"])
        reference = state["reference"]
        self._reference = None if reference is None else float(reference)
        self._measured = int(state["measured"])

    def describe(self) -> str:
        """Return the rule, the adversarial share and the bounds."""
        return (
            f"absa: batch and lr times {self.factor:g} where the top Hessian eigenvalue of "
            f"{self.sentences} sentences, every {self.every}, is down to 1/{self.drop:g} or has "
            f"led to nothing {self.patience} times, {self.bounds}; adversarial share "
            f"{self.first_share:g}, divided by {self.relax:g} each time, none after "
            f"{self.until:.0%} of training"
        )
