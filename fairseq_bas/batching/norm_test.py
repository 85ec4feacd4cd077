"""The norm test: batches large enough for the gradient to stand out from its noise."""

import math

from .bounds import Bounds, Pace
from .controller import Measured
from .measured import MeasuredController


class NormTest(MeasuredController):
    """Grow the batch when its gradient fails the norm test (Byrd et al. 2012).

        passed:  S / B <= theta² · |G|²
        failed:  next B = ceil(S / (theta² · |G|²))   target tokens

    A batch that passes is kept; it never shrinks. |G|² is the unbiased estimate: the squared norm
    of the batch's own gradient contains S / B and would pass almost always at theta 1. With
    ``extend``, the update at hand takes more data until it passes, as in Big Batch SGD (De et al.
    2016, 1610.05792).

    Args:
        theta: how much noise is allowed, as a share of the gradient's norm, > 0.
        bounds: limits and rounding.
        pace: how often and how far the batch may move; |G|² not above 0 asks for an infinite
            batch, so there should be a limit.
        smoothing: weight of the past in the moving averages; published: 0.
        extend: let an update that fails take more data.

    >>> from fairseq_bas.batching.amount import Amount, BaseBatch
    >>> controller = NormTest(1.0, Bounds(Amount(1), Amount(32)), Pace(), smoothing=0.0)
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> controller.passes(variance=300.0, squared_gradient=0.05, tokens=2000)
    False
    >>> controller.observe(Measured(update=1, lr=0.1, variance=300.0, squared_gradient=0.05))
    >>> controller.multiple
    3.0
    """

    name = "norm-test"

    def __init__(
        self, theta: float, bounds: Bounds, pace: Pace, smoothing: float, extend: bool = False
    ):
        super().__init__(bounds, pace, smoothing)
        self.theta = theta
        self.extends_update = extend

    def passes(self, variance: float, squared_gradient: float, tokens: float) -> bool:
        """Tell whether a batch of so many target tokens passes the test.

        Args:
            variance: S, per target token.
            squared_gradient: |G|², the unbiased estimate.
            tokens: target tokens of the batch, > 0.
        """
        return variance / tokens <= self.theta**2 * squared_gradient

    def terms(self, measured: Measured) -> tuple[float | None, float | None]:
        """Return S and |G|²."""
        return measured.variance, measured.squared_gradient

    def wanted(self, ratio: float, current: float, measured: Measured) -> float:
        """Return the smallest batch that passes, or ``current`` if that does."""
        tokens = ratio / self.theta**2
        needed = math.ceil(tokens) if math.isfinite(tokens) else math.inf
        return max(current, needed / self.base.target_tokens)

    @property
    def aim(self) -> str:
        """Return the test in words."""
        extended = ", extending an update that fails" if self.extends_update else ""
        return f"noise at most {self.theta:g} times the gradient{extended}"
