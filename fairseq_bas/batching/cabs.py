"""CABS: batches coupled to the learning rate, the gradient's variance and the loss."""

from .bounds import Bounds, Pace
from .controller import Measured
from .measured import MeasuredController


class Cabs(MeasuredController):
    """Make the batch lr · variance / loss (Balles et al. 2016, 1612.05086).

        B = lr · EMA(S) / EMA(loss - floor)   target tokens

    With the loss in nats per target token and S the variance of one token's gradient of it, both
    sides count tokens. The rule takes the loss for its distance from the optimum; for text that is
    never 0, so a floor should be given: the entropy that label smoothing adds, and a guess at the
    loss of the best model. Where the loss meets the floor, the batch goes to its maximum. It was
    derived for stochastic gradient descent without momentum.

    Args:
        floor: nats per target token, >= 0.
        bounds: limits and rounding.
        pace: how often and how far the batch may move; published: no restriction.
        smoothing: weight of the past in the moving averages; published: 0.95.

    >>> from fairseq_bas.batching.amount import Amount, BaseBatch
    >>> controller = Cabs(1.0, Bounds(Amount(1), Amount(32)), Pace(), smoothing=0.95)
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> controller.observe(Measured(update=1, lr=0.5, loss=3.0, variance=32000.0))
    >>> controller.multiple  # 0.5 · 32000 / (3 - 1) = 8000 tokens
    4.0
    """

    name = "cabs"
    needs = frozenset({"noise_scale", "loss"})

    def __init__(self, floor: float, bounds: Bounds, pace: Pace, smoothing: float):
        super().__init__(bounds, pace, smoothing)
        self.floor = floor

    def terms(self, measured: Measured) -> tuple[float | None, float | None]:
        """Return S and the loss above the floor."""
        above = None if measured.loss is None else measured.loss - self.floor
        return measured.variance, above

    def wanted(self, ratio: float, current: float, measured: Measured) -> float:
        """Return the published batch for the learning rate of this update."""
        return measured.lr * ratio / self.base.target_tokens if measured.lr > 0 else 0.0

    @property
    def aim(self) -> str:
        """Return the rule in words."""
        return f"lr times variance over the loss above {self.floor:g} nats per token"
