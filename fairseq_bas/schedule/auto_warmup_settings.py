"""What an automatic warm-up is asked for, and the exponential ramp that it follows."""

import math
from dataclasses import dataclass
from typing import Literal

Decay = Literal["cosine", "constant-cosine", "constant"]
Choice = Literal["fastest", "lowest"]


@dataclass(frozen=True)
class WarmupSettings:
    """What the user asks of an automatic warm-up.

    Args:
        total: T, updates of the run, > 0.
        min_lr: learning rate of the first update, > 0.
        max_lr: learning rate at the end of the longest warm-up, > ``min_lr``.
        max_warmup: rho in (0, 1], the longest warm-up as a share of the run.
        every: updates from one test of the loss to the next; 0 for max(50, T/100).
        patience: tests in a row that must agree before the warm-up ends, >= 1.
        decay: what follows, from the learning rate found: ``cosine`` to 0 at T, ``constant``, or
            ``constant-cosine``, a cosine in the last fifth of the run only.
        seed: >= 0, for the random choice of losses in a test.
        choice: of the learning rate: ``lowest``, where the smoothed loss is, as published, or
            ``fastest``, where it falls fastest after its first fall; if there is no such, lowest.

    Raises:
        ValueError: if a value is outside its range.
    """

    total: int
    min_lr: float
    max_lr: float
    max_warmup: float = 0.5
    every: int = 0
    patience: int = 3
    decay: Decay = "cosine"
    seed: int = 0
    choice: Choice = "fastest"

    def __post_init__(self) -> None:
        if self.total <= 0:
            raise ValueError(
                f"the length of the run, {self.total} updates, is not known beforehand, but "
                "automatic warm-up needs it; pass --max-update"
            )
        if not 0 < self.min_lr < self.max_lr < math.inf:
            raise ValueError(
                f"the learning rate cannot grow from --bas-autowu-min-lr {self.min_lr:g} to --lr "
                f"{self.max_lr:g}; give the largest one to try as --lr and a smaller one, above 0, "
                "as --bas-autowu-min-lr"
            )
        if not 0 < self.max_warmup <= 1:
            raise ValueError(
                f"--bas-autowu-max-warmup {self.max_warmup:g} is no share of the run; pass a "
                "number above 0 and at most 1"
            )
        if self.every < 0 or self.patience < 1:
            raise ValueError(
                f"--bas-autowu-every {self.every} --bas-autowu-patience {self.patience} asks for "
                "no test; pass 0 (automatic) or more and 1 or more"
            )

    @property
    def limit(self) -> int:
        """Updates of the longest warm-up, at least 1."""
        return max(1, round(self.max_warmup * self.total))

    @property
    def interval(self) -> int:
        """Updates from one test to the next."""
        return self.every or max(50, self.total // 100)

    def ramp(self, num_updates: float) -> float:
        r"""Return the learning rate of the warm-up after some updates.

        :math:`\eta_{min} (\eta_{max}/\eta_{min})^{t / (\rho T)}`

        Args:
            num_updates: t >= 0; beyond the limit the learning rate stays the largest.

        Example:
            >>> settings = WarmupSettings(total=100, min_lr=1e-4, max_lr=1e-2)
            >>> [f"{settings.ramp(t):.4f}" for t in (0, 25, 50, 60)]
            ['0.0001', '0.0010', '0.0100', '0.0100']
        """
        share = min(num_updates, self.limit) / self.limit
        return float(self.min_lr * (self.max_lr / self.min_lr) ** share)
