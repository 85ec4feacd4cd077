"""What LAMB, LARS and NovoGrad share: which parameters are layers, and how a step goes over them.

A parameter group may hold ``rowwise: True``; each row of its matrices is then a layer.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .trust_ratio import is_layer, masked_means

# Elements handled together. Temporary memory is a few times this; a processor's cache is best used
# tensor by tensor, a GPU by few launches of kernels.
_TOGETHER = {"cpu": 2**18, "cuda": 2**26}


@dataclass
class Batch:
    """Parameters that an update treats alike, on one device, of one type and age.

    Attributes:
        params: parameters with a gradient.
        grads: their gradients.
        states: their optimizer states.
        adapted: False for biases and gains of norms: no trust ratio, no weight decay.
        rowwise: True if each row is a layer.
    """

    params: list[Tensor]
    grads: list[Tensor]
    states: list[dict[str, Any]]
    adapted: bool
    rowwise: bool


class LayerwiseOptimizer(torch.optim.Optimizer):
    """Base of optimizers that choose the length of each layer's step.

    Subclasses define ``_update(batch, group)`` and call ``_record`` in it.

    Args:
        params: parameters or groups of them, unflattened; a group may hold ``rowwise``.
        defaults: options of a group.
        include_vectors: treat tensors of at most one dimension like matrices.

    Raises:
        ValueError: if an option is out of its range.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any], include_vectors: bool):
        for name in ("lr", "eps", "weight_decay"):
            if not 0 <= defaults.get(name, 0) < float("inf"):
                raise ValueError(f"{name} {defaults[name]} is not a number of at least 0")
        for value in (*defaults.get("betas", ()), defaults.get("momentum", 0)):
            if not 0 <= value < 1:
                raise ValueError(f"{value} cannot weigh a mean; pass betas and momentum in [0, 1)")
        super().__init__(params, {**defaults, "include_vectors": include_vectors, "rowwise": False})
        self._ratios: dict[Tensor, Tensor] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._ratios = {}

    def ratios(self) -> dict[Tensor, Tensor]:
        """Return what the latest update multiplied the learning rate of each layer by.

        Returns:
            For each adapted parameter a scalar on its device; row-wise the mean over the rows that
            had a gradient. Empty before the first update.
        """
        return dict(self._ratios)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make an update from the gradients, which stay as they are.

        Raises:
            RuntimeError: if a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for batch in self._batches(group):
                self._update(batch, group)
        return loss

    def _update(self, batch: Batch, group: dict[str, Any]) -> None:
        raise NotImplementedError

    def _batches(self, group: dict[str, Any]) -> Iterator[Batch]:
        """Sort the parameters that have a gradient into batches of bounded size."""
        alike: dict[tuple, list[Tensor]] = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.grad.is_sparse:
                raise RuntimeError(
                    "a layer's norm needs all of its gradient; do without sparse=True"
                )
            adapted = is_layer(p, group["include_vectors"])
            rowwise = adapted and group["rowwise"] and p.ndim > 1
            age = self.state[p].get("step", 0)
            alike.setdefault((adapted, rowwise, p.device, p.dtype, age), []).append(p)
        for (adapted, rowwise, device, *_), params in alike.items():
            for some in _portions(params, _TOGETHER.get(device.type, 1)):
                grads = [p.grad for p in some if p.grad is not None]
                yield Batch(some, grads, [self.state[p] for p in some], adapted, rowwise)

    def _record(self, batch: Batch, ratios: list[Tensor], seen: list[Tensor] | None = None) -> None:
        """Keep ratios for `ratios`; ``seen`` marks the rows with a gradient."""
        if seen is not None:
            ratios = masked_means(ratios, seen)
        self._ratios.update(zip(batch.params, ratios, strict=True))


def _portions(params: list[Tensor], limit: int) -> Iterator[list[Tensor]]:
    """Cut a list so that each part holds at most ``limit`` elements, or one tensor."""
    part: list[Tensor] = []
    size = 0
    for p in params:
        if part and size + p.numel() > limit:
            yield part
            part, size = [], 0
        part.append(p)
        size += p.numel()
    if part:
        yield part


def moments(batch: Batch, name: str) -> list[Tensor]:
    """Return a state tensor of each parameter of a batch, zero where there is none yet."""
    for p, state in zip(batch.params, batch.states, strict=True):
        if name not in state:
            state[name] = torch.zeros_like(p, memory_format=torch.preserve_format)
    return [state[name] for state in batch.states]
