"""Dynamic evaluation: a model that goes on learning from the text it is evaluated on.

After each segment of the text, whose words are predicted first, with g the gradient of the
segment's mean negative log-likelihood and theta_0 the trained parameters, all elementwise,

    rms:  theta <- theta - lr * g / (RMS + eps) + min(decay * RMS_norm, 1) * (theta_0 - theta)
    sgd:  theta <- theta - lr * g               + decay * (theta_0 - theta)

RMS = sqrt(MS), where MS is the mean over mini-batches of training data of the squared gradient of
the mini-batch's mean loss at theta_0; RMS_norm = RMS / mean(RMS). As in the authors' program
(without its ``--oldhyper``), for which their values of lr, decay and eps hold, mean(RMS) is the
average over parameter tensors of the mean of each, and the decay is clipped at 1, beyond which it
would overshoot theta_0. All of theta on the right is that before the segment.

Source: Krause et al. 2018 (arXiv 1709.07432), the rule with RMS and the global prior.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class DivergedError(ValueError):
    """Say that the loss is not finite any more."""


def gradient_rms(model: nn.Module, losses: Iterable[Tensor]) -> list[Tensor]:
    """Return the root of the mean squared gradient of each parameter.

    sqrt(1/n sum_k g_k^2), elementwise, with g_k the gradient of loss k of n. The parameters and
    their ``grad`` stay as they are.

    Args:
        model: in eval mode.
        losses: n >= 1 scalars computed by the model, in nats, each the mean over a mini-batch of
            training data. They are drawn one at a time, so a generator holds one graph at once.

    Returns:
        One tensor for each of ``trained_parameters(model)``.

    Raises:
        ValueError: if the model is in training mode or there is no loss.

    >>> model = nn.Linear(1, 1, bias=False).eval()
    >>> gradient_rms(model, (model(torch.tensor([x])).sum() for x in (1.0, 7.0)))
    [tensor([[5.]])]
    """
    refuse_training_mode(model)
    parameters = trained_parameters(model)
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    count = 0
    for loss in losses:
        for square, gradient in zip(squares, _gradients(loss, parameters), strict=True):
            if gradient is not None:
                square.addcmul_(gradient, gradient)
        count += 1
    if count == 0:
        raise ValueError("gradient statistics need at least one mini-batch; pass training data")
    return [square.div_(count).sqrt_() for square in squares]


class DynamicEvaluation:
    """Update a model after each segment of a text, and put it back at the end.

    As a context manager it restores the trained parameters on leaving, bit for bit, also after an
    error.

    Args:
        model: in eval mode; its parameters are changed in place, shared ones once.
        lr: learning rate, > 0.
        decay: strength of the pull back to the trained parameters, >= 0.
        rms: from ``gradient_rms``, for the rule rms; None for plain SGD, where decay <= 1.
        epsilon: > 0, only for the rule rms.

    Raises:
        ValueError: if the model is in training mode, a value is out of range, or ``rms`` belongs to
            another model.

    >>> model = nn.Linear(1, 1, bias=False).eval()
    >>> _ = nn.init.ones_(model.weight)
    >>> with DynamicEvaluation(model, lr=0.1, decay=0.0) as dynamic:
    ...     dynamic.step(model(torch.tensor([2.0])).sum())
    ...     print(round(model.weight.item(), 4))
    0.8
    >>> model.weight.item()
    1.0
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        decay: float = 0.0,
        rms: Sequence[Tensor] | None = None,
        epsilon: float = 2e-5,
    ):
        refuse_training_mode(model)
        check_rates(lr, decay, epsilon, normalised=rms is not None)
        self.model, self.lr = model, lr
        self.parameters = trained_parameters(model)
        self.trained = [parameter.detach().clone() for parameter in self.parameters]
        self._rates: list[Tensor | float] = [lr] * len(self.parameters)
        self._decays: list[Tensor | float] = [decay] * len(self.parameters)
        if rms is not None:
            if [part.shape for part in rms] != [part.shape for part in self.parameters]:
                raise ValueError(
                    "the gradient statistics belong to another model; compute them by gradient_rms"
                )
            self._rates = [lr / (part + epsilon) for part in rms]
            self._decays = [*clipped_decays(rms, decay)]

    def step(self, loss: Tensor) -> None:
        """Learn from a segment that was predicted.

        Args:
            loss: scalar, the mean negative log-likelihood of the segment in nats, with its graph.

        Raises:
            ValueError: if the model is in training mode.
            DivergedError: if the loss is not finite.
        """
        refuse_training_mode(self.model)
        if not torch.isfinite(loss):
            raise DivergedError(
                f"dynamic evaluation diverged: the loss of a segment is {loss.item()}; choose a "
                f"smaller learning rate than {self.lr:g}"
            )
        gradients = _gradients(loss, self.parameters)
        with torch.no_grad():
            for parameter, trained, gradient, rate, decay in zip(
                self.parameters, self.trained, gradients, self._rates, self._decays, strict=True
            ):
                parameter.lerp_(trained, decay)
                if gradient is None:
                    continue
                if isinstance(rate, Tensor):
                    parameter.addcmul_(gradient, rate, value=-1)
                else:
                    parameter.sub_(gradient, alpha=rate)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the trained parameters back."""
        for parameter, trained in zip(self.parameters, self.trained, strict=True):
            parameter.copy_(trained)

    def __enter__(self) -> "DynamicEvaluation":
        return self

    def __exit__(self, *error: object) -> None:
        self.restore()


def clipped_decays(rms: Sequence[Tensor], decay: float) -> list[Tensor]:
    """Return min(decay * RMS / mean(RMS), 1), where mean(RMS) averages the means of the tensors.

    Args:
        rms: from ``gradient_rms``.
        decay: >= 0.

    Returns:
        Tensors as in ``rms``, in [0, 1]; zeros if all gradients are zero.

    >>> clipped_decays([torch.tensor([1.0, 3.0]), torch.tensor([4.0])], 0.5)
    [tensor([0.1667, 0.5000]), tensor([0.6667])]
    """
    average = torch.stack([part.mean() for part in rms]).mean()
    scale = decay / average if average > 0 else torch.zeros_like(average)
    return [(part * scale).clamp(max=1.0) for part in rms]


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are learned, each once."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def check_rates(lr: float, decay: float, epsilon: float, normalised: bool) -> None:
    """Raise ValueError if a value of dynamic evaluation is out of range.

    Args:
        lr: must be > 0.
        decay: must be >= 0, and without normalisation <= 1.
        epsilon: must be > 0.
        normalised: True for the rule rms.
    """
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"learning rate {lr} is not a positive number; pass e.g. 5e-5")
    if not (math.isfinite(decay) and decay >= 0):
        raise ValueError(f"decay {decay} is not 0 or a positive number; pass e.g. 0.002")
    if not normalised and decay > 1:
        raise ValueError(f"decay {decay} would overshoot the trained parameters; pass 1 or less")
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon {epsilon} is not a positive number; pass e.g. 2e-5")


def refuse_training_mode(model: nn.Module) -> None:
    """Raise ValueError if a part of the model is in training mode, where it drops units."""
    if any(module.training for module in model.modules()):
        raise ValueError("the model is in training mode; call model.eval() before evaluation")


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor | None]:
    return torch.autograd.grad(loss, parameters, allow_unused=True)
