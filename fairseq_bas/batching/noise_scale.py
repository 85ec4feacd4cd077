"""Batches that follow the measured gradient noise scale."""

import math

from .bounds import Bounds, Pace
from .controller import Measured
from .measured import MeasuredController


class NoiseScale(MeasuredController):
    """Make the batch a fraction of the critical batch (McCandlish et al. 2018, 1812.06162).

        B = fraction · EMA(S) / EMA(|G|²)   target tokens

    At fraction 1 an update gains half of what the largest batch could gain, for twice the data of
    the smallest one. While either average is not above 0, there is too much noise to tell, and the
    batch is kept.

    Args:
        fraction: of the critical batch, > 0.
        bounds: limits and rounding.
        pace: how often and how far the batch may move.
        smoothing: weight of the past in the moving averages, in [0, 1).

    >>> from fairseq_bas.batching.amount import Amount, BaseBatch
    >>> controller = NoiseScale(1.0, Bounds(Amount(1), Amount(32)), Pace(), smoothing=0.0)
    >>> controller.bind(BaseBatch(sentences=64, target_tokens=2000))
    >>> controller.observe(Measured(update=1, lr=0.1, variance=300.0, squared_gradient=0.05))
    >>> controller.multiple  # 300 / 0.05 = 6000 tokens
    3.0
    """

    name = "noise-scale"

    def __init__(self, fraction: float, bounds: Bounds, pace: Pace, smoothing: float):
        super().__init__(bounds, pace, smoothing)
        self.fraction = fraction

    def terms(self, measured: Measured) -> tuple[float | None, float | None]:
        """Return S and |G|²."""
        return measured.variance, measured.squared_gradient

    def wanted(self, ratio: float, current: float, measured: Measured) -> float:
        """Return the fraction of the critical batch, or ``current`` if that is not known."""
        if not 0 < ratio < math.inf:
            return current
        return self.fraction * ratio / self.base.target_tokens

    @property
    def aim(self) -> str:
        """Return the fraction in words."""
        return f"{self.fraction:g} times the measured critical batch"
