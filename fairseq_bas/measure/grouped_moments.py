"""What many micro-batches tell about the gradient, with what each group of them contributes.

Shapes: G groups of micro-batches, R copies of each micro-batch, n parameters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .jackknife import Numbers
from .noise_scale import GradientMoments
from .two_level import between_variance, estimate


@dataclass(frozen=True)
class GradientEstimates:
    """Hold estimates from all micro-batches, and from all but each group.

    Attributes:
        values: (3,), t_b, t_w and ``|G|^2``; the first two per token. They are unbiased,
            so each can be negative. With one copy t_w is 0 and t_b is all of the variance S.
        leave_out: (G, 3), the same without group g.
        shares: (G,), of the tokens that are in group g.
        tokens: of all micro-batches.
        micro_batches: their number.
        replicas: R, copies that were measured.
    """

    values: Numbers
    leave_out: Numbers
    shares: Numbers
    tokens: float
    micro_batches: int
    replicas: int


@dataclass(frozen=True)
class GroupedMoments:
    """Sums over the micro-batches of each group, and inner products between groups.

    Leaving a group out takes its sums away and its row and column of ``gram``, so no gradient has
    to be computed again.

    Args:
        groups: G sums over micro-batches; ``within`` where R > 1.
        gram: (G, G) float64; entry g, h is the inner product of the gradients summed over the
            tokens of group g and of group h, each the mean over R copies.
        replicas: R, each a pass of its own.
    """

    groups: Sequence[GradientMoments]
    gram: Numbers
    replicas: int = 1

    def estimates(self) -> GradientEstimates:
        """Return unbiased estimates of t_b, t_w and ``|G|^2``.

        Raises:
            ValueError: if there are fewer than two groups, a group without micro-batches or too few
                of these, or a gradient that is not finite.
        """
        if len(self.groups) < 2 or any(g.micro_batches == 0 for g in self.groups):
            raise ValueError(
                f"{len(self.groups)} groups, each with micro-batches, are needed to tell an error "
                "bar; pass at least two micro-batches"
            )
        every = range(len(self.groups))
        leave_out = [self._estimate([h for h in every if h != g]) for g in every]
        tokens = np.array([group.tokens for group in self.groups])
        return GradientEstimates(
            self._estimate(list(every)),
            np.array(leave_out),
            tokens / tokens.sum(),
            float(tokens.sum()),
            int(sum(group.micro_batches for group in self.groups)),
            self.replicas,
        )

    def _estimate(self, chosen: list[int]) -> Numbers:
        total = sum((self.groups[g] for g in chosen), GradientMoments())
        squared = float(self.gram[np.ix_(chosen, chosen)].sum()) / total.tokens**2
        if not math.isfinite(squared + total.square):
            raise ValueError(
                "the gradient is not finite; the checkpoint, or its loss on this text, is not "
                "usable: pass another checkpoint"
            )
        found = estimate(total, squared, self.replicas, self.replicas)
        if found is None:
            raise ValueError(
                f"{total.micro_batches:g} micro-batches are too few to leave some out; pass at "
                "least three"
            )
        within = found.within or 0.0
        between = between_variance(found.variance, within, self.replicas)
        return np.array([between, within, found.squared_gradient])
