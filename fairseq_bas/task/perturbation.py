"""What is added to the embeddings of one side in one pass, and how its gradient is learnt.

Shapes: R rows, T tokens, H hidden.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..noise.adversarial import ascend


@dataclass(frozen=True)
class Bound:
    """Hold how far perturbations go: ``size``, ``step_size`` and ``norm`` as in ``ascend``."""

    size: float
    step_size: float
    norm: str


class Perturbation:
    """Move the embeddings of a pass along their gradient, in one step or several.

    It is called where the model has looked its embeddings up. While it watches, a leaf is added to
    them, whose ``.grad`` is that of the loss by what the model reads: a tied output layer has no
    part in it, and no graph outlives the backward pass.

    Attributes:
        watching: True until the gradient of the present place is learnt.

    Args:
        bound: how far.
        rows: (R,) bool, those to move.
        padding: id of the padding symbol.
        gradient: (R, T, H), where another pass has left it.
        watching: True to learn it.
    """

    def __init__(
        self,
        bound: Bound,
        rows: Tensor,
        padding: int,
        gradient: Tensor | None = None,
        watching: bool = False,
    ):
        self.bound = bound
        self.rows = rows
        self.padding = padding
        self.gradient = gradient
        self.watching = watching
        self._start: Tensor | None = None
        self._leaf: Tensor | None = None

    def __call__(self, embedding: Tensor, tokens: Tensor) -> Tensor:
        """Return the embeddings (R, T, H) of ``tokens`` (R, T), moved as far as is known."""
        if not self.watching:
            moved = self._moved(embedding, tokens)
            return embedding if moved is None else embedding + moved.to(embedding.dtype)
        if self._leaf is None:
            self._start = self._moved(embedding, tokens)
            start = torch.zeros_like(embedding) if self._start is None else self._start
            self._leaf = start.detach().to(embedding.dtype).requires_grad_()
        return embedding + self._leaf

    def learn(self, watch_on: bool = False) -> Tensor | None:
        """Take, and return, the gradient that the backward pass of watched embeddings has left."""
        if self._leaf is not None:
            self.gradient, self._leaf = self._leaf.grad, None
        self.watching = watch_on
        return self.gradient

    @torch.no_grad()
    def _moved(self, embedding: Tensor, tokens: Tensor) -> Tensor | None:
        if self.gradient is None:
            return self._start
        wide = torch.promote_types(embedding.dtype, torch.float32)
        return ascend(
            self._start,
            self.gradient,
            embedding,
            tokens.eq(self.padding),
            self.rows.to(wide) * self.bound.size,
            self.bound.step_size,
            self.bound.norm,
        )
