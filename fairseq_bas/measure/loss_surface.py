"""The loss of a model on fixed text as a function of its parameters.

f(w) = 1 / N * sum over micro-batches of the loss summed over their tokens

Curvature, sharpness and landscapes are read off this one function. Micro-batches are computed one
after the other, so memory is that of one of them and a few vectors of n numbers.

Shapes: n trainable parameters, N tokens.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .kernels import trainable_recurrence

LossOf = Callable[[nn.Module, Any], Tensor]
"""(model, micro-batch) -> its loss summed over tokens, 0-dim, with graph."""


class LossSurface:
    """Evaluate the loss, its gradient and, by `hessian_product`, its curvature at any point.

    The model keeps its parameters and their ``.grad``; ``moved`` changes the former for a while.

    Args:
        model: in eval mode, with float32 or float64 parameters, all of one type on one device.
        batches: micro-batches, on the model's device; they are kept.
        loss_of: returns the loss of a micro-batch, SUMMED over its tokens.
        weight: N > 0, what the sum of all losses is divided by: the tokens of all micro-batches.
        outputs_of: returns the logits (K, V) of the K tokens of a micro-batch whose cross-entropies
            ``loss_of`` adds up, with graph; only the Gauss-Newton matrix needs it.

    Attributes:
        parameters: the distinct trainable parameters; tied ones are counted once.
        names: their names, of tied ones the first.
        shapes: their shapes.
        size: n, the numbers in them.

    Raises:
        ValueError: if there is nothing to evaluate, if a sub-module is in training mode, or if the
            loss is not finite or not the same in two evaluations.

    >>> model = nn.Linear(1, 1, bias=False).double().eval()
    >>> batches = [torch.tensor([[1.0]]).double(), torch.tensor([[2.0]]).double()]
    >>> surface = LossSurface(model, batches, lambda model, x: 0.5 * model(x).square().sum(), 2.0)
    >>> with surface.moved(torch.tensor([4.0])):
    ...     surface.loss(), surface.gradient().tolist()
    (20.0, [10.0])
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Any],
        loss_of: LossOf,
        weight: float,
        outputs_of: LossOf | None = None,
    ):
        self.model, self.batches, self.loss_of = model, list(batches), loss_of
        self.weight, self.outputs_of = float(weight), outputs_of
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters: list[nn.Parameter] = [parameter for _, parameter in named]
        self.shapes = [parameter.shape for parameter in self.parameters]
        self.size = sum(parameter.numel() for parameter in self.parameters)
        self._require_usable()
        refuse_training_mode(model)
        self._require_deterministic()

    @property
    def device(self) -> torch.device:
        """Return the device of the parameters."""
        return self.parameters[0].device

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the parameters."""
        return self.parameters[0].dtype

    # -- points -------------------------------------------------------------------------------

    def point(self) -> Tensor:
        """Return a copy of the parameters, (n,), in their type."""
        return self.flat([parameter.detach() for parameter in self.parameters])

    @torch.no_grad()
    def move_to(self, vector: Tensor) -> None:
        """Set the parameters.

        Args:
            vector: (n,), of any floating type and device.
        """
        for parameter, part in zip(self.parameters, self.split(vector), strict=True):
            parameter.copy_(part)

    @contextmanager
    def moved(self, vector: Tensor) -> Iterator[None]:
        """Be at ``vector``, (n,), within the block; afterwards the parameters are bit-equal again.

        The block may move on.
        """
        before = [parameter.detach().clone() for parameter in self.parameters]
        try:
            self.move_to(vector)
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, before, strict=True):
                    parameter.copy_(value)

    def split(self, vector: Tensor) -> list[Tensor]:
        """Return views of a vector (n,), shaped as the parameters.

        Raises:
            ValueError: if it is not (n,).
        """
        if vector.shape != (self.size,):
            raise ValueError(
                f"a vector of shape {tuple(vector.shape)} is no direction of a model with "
                f"{self.size} parameters; give one of shape ({self.size},)"
            )
        sizes = [shape.numel() for shape in self.shapes]
        parts = zip(vector.split(sizes), self.shapes, strict=True)
        return [part.view(shape) for part, shape in parts]

    def flat(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return tensors shaped as the parameters as one vector (n,), a copy."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])

    # -- values -------------------------------------------------------------------------------

    @torch.no_grad()
    def loss(self) -> float:
        """Return the loss here: the mean over N tokens, micro-batches added up in float64."""
        return math.fsum(float(self._loss_of(batch)) for batch in self.batches) / self.weight

    def gradient(self) -> Tensor:
        """Return the gradient of the mean loss here, (n,), in the type of the parameters."""
        return self.loss_and_gradient()[1]

    def loss_and_gradient(self) -> tuple[float, Tensor]:
        """Return the mean loss and its gradient (n,); one forward and backward pass of each."""
        losses, total = [], self.zeros()
        for batch in self.batches:
            with torch.enable_grad(), trainable_recurrence(self.model):
                loss = self._loss_of(batch)
                self.add_gradient(total, loss)
            losses.append(float(loss.detach()))
        return math.fsum(losses) / self.weight, total.div_(self.weight)

    def zeros(self) -> Tensor:
        """Return a vector (n,) of zeros, of the type and on the device of the parameters."""
        return torch.zeros(self.size, dtype=self.dtype, device=self.device)

    def add_gradient(
        self, total: Tensor, output: Tensor, grad_output: Tensor | None = None
    ) -> None:
        """Add the gradient of ``output`` in the parameters to ``total``, (n,), in place.

        Args:
            total: (n,).
            output: with graph, which is freed.
            grad_output: what the gradient of ``output`` is; None for 1, of a 0-dim output.
        """
        if not output.requires_grad:
            return
        gradients = torch.autograd.grad(output, self.parameters, grad_output, allow_unused=True)
        for place, gradient in zip(self.split(total), gradients, strict=True):
            if gradient is not None:
                place.add_(gradient)

    def _loss_of(self, batch: Any) -> Tensor:
        return self.loss_of(self.model, batch)

    # -- refusals -----------------------------------------------------------------------------

    def _require_usable(self) -> None:
        if not self.size:
            raise ValueError("the model has no trainable parameter, so its loss has no surface")
        if not self.batches or not (0 < self.weight < math.inf):
            raise ValueError(
                f"{len(self.batches)} micro-batches of {self.weight:g} tokens hold no loss; give "
                "some text"
            )
        kinds = {(parameter.dtype, parameter.device) for parameter in self.parameters}
        wide = (torch.float32, torch.float64)
        if len(kinds) > 1 or self.dtype not in wide:
            raise ValueError(
                f"parameters of type {', '.join(sorted({str(dtype) for dtype, _ in kinds}))} on "
                f"{len({device for _, device in kinds})} device(s) are no surface; give a model "
                "of float32 or float64 on one device"
            )

    def _require_deterministic(self) -> None:
        first = self.loss()
        if not math.isfinite(first):
            raise ValueError(
                f"the loss is {first}, so it has no curvature; pass a model that did not diverge"
            )
        second = self.loss()
        if first != second:
            raise ValueError(
                f"two evaluations of the loss gave {first!r} and {second!r}; take out of the model "
                "or the loss what is random"
            )


def refuse_training_mode(model: nn.Module) -> None:
    """Raise ValueError if a sub-module is in training mode.

    Recurrent layers of torch without dropout may be: it has no effect on them.

    >>> refuse_training_mode(nn.Sequential(nn.Dropout(0.1)).eval())
    """
    for name, module in model.named_modules():
        harmless = isinstance(module, nn.RNNBase) and not module.dropout
        if module.training and not harmless:
            raise ValueError(
                f"{name or 'the model'} ({type(module).__name__}) is in training mode, in which "
                "the loss is random; call model.eval() first"
            )
