"""Decentralised momentum SGD as a torch optimizer, with exact state of every worker.

Shapes: P elements of all parameters, n workers.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .decentralised import RULES
from .neighbour_exchange import NeighbourExchange


class DecentralisedSGD(torch.optim.Optimizer):
    r"""Run a rule of `decentralised` on this worker's weights, all of them in one vector.

    Between evaluations every worker has weights of its own. `use_average` puts their mean over
    workers into the parameters and `use_own` takes it out again, exactly. Weight decay is the L2
    penalty: :math:`\lambda x` is added to the gradient.

    Args:
        params: parameters, all float32 or all float64, on one device.
        lr: learning rate, >= 0.
        momentum: :math:`\beta` in [0, 1).
        weight_decay: :math:`\lambda` >= 0.
        rule: key of ``RULES``.
        exchange: with the other workers; None if there are none, or if gradients are the mean over
            workers already (``allreduce``).
        keeps_workers: `state_dict` has what each worker holds, and not only means.

    Attributes:
        consensus: :math:`\sqrt{\sum_j |x_j - \bar x|^2 / (n P)}` at the last `use_average`, None
            before the first.

    Raises:
        ValueError: if a number is out of range or parameters have half precision.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        rule: str = "decentlam",
        exchange: NeighbourExchange | None = None,
        keeps_workers: bool = True,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"--momentum {momentum} is not in [0, 1); pass one such as 0.9")
        if weight_decay < 0:
            raise ValueError(f"--weight-decay {weight_decay} is negative; pass 0 or more")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        if any(p.dtype in (torch.float16, torch.bfloat16) for p in self._parameters()):
            raise ValueError(
                "weights in half precision are too coarse to average; keep a float32 copy, which "
                "--memory-efficient-fp16 and --memory-efficient-bf16 leave out"
            )
        self.rule, self.exchange, self.keeps_workers = rule, exchange, keeps_workers
        self.velocity = torch.zeros_like(self._weights())
        self.consensus: float | None = None
        self._own: Tensor | None = None  # this worker's weights while parameters hold the average
        self._gathered: tuple[list[Tensor], list[Tensor]] | None = None

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _weights(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self._parameters()])

    def _gradient(self) -> Tensor:
        """Return the gradient (P,), zeros where there is none: all send vectors of one length."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters()]
        return torch.cat([gradient.reshape(-1) for gradient in gradients])

    def _put(self, weights: Tensor) -> None:
        parameters = self._parameters()
        parts = weights.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make an update; all workers must make it at the same time.

        Raises:
            RuntimeError: if the parameters hold the average, or a connection broke.
        """
        if self._own is not None:
            raise RuntimeError("the parameters hold the average; call use_own() before step()")
        group = self.param_groups[0]
        weights, gradient = self._weights(), self._gradient()
        gradient.add_(weights, alpha=group["weight_decay"])
        mix = (lambda vector: vector) if self.exchange is None else self.exchange.mix
        update = RULES[self.rule]
        update(weights, gradient, self.velocity, group["lr"], group["momentum"], mix)
        self._put(weights)

    @torch.no_grad()
    def use_average(self) -> bool:
        """Put the mean over workers into the parameters; all of them must call it at once.

        Returns:
            True if the parameters changed; False if they hold it already or all workers are alike.
        """
        if self.exchange is None or self._own is not None:
            return False
        own = self._weights()
        average = self.exchange.mean(own)
        squares = (own - average).square().mean(dtype=torch.float64)
        self.consensus = float(self.exchange.mean(squares)) ** 0.5
        self._own = own
        self._put(average)
        return True

    @torch.no_grad()
    def use_own(self) -> bool:
        """Put this worker's weights back, bit for bit; return whether the parameters changed."""
        self._gathered = None
        if self._own is None:
            return False
        self._put(self._own)
        self._own = None
        return True

    @torch.no_grad()
    def gather(self) -> None:
        """Bring together on worker 0 what `state_dict` returns; after `use_average`, on all.

        Raises:
            RuntimeError: if the parameters hold this worker's weights, which a checkpoint of the
                average would take for those of the model.
        """
        if self.exchange is None:
            return
        if self._own is None:
            raise RuntimeError("the parameters hold no average; call use_average() before gather()")
        if self.keeps_workers:
            weights = self.exchange.gather(self._own)
            self._gathered = weights, self.exchange.gather(self.velocity)
        else:
            self._gathered = [], [self.exchange.mean(self.velocity)]

    def state_dict(self) -> dict[str, Any]:
        """Return what `gather` brought; without it, this worker's state, to go on alike from it.

        ``decentralised`` has the ``rule``, the ``weights`` (P,) of every worker, none where all go
        on from those of the model, and every ``velocity`` (P,), one where they are alike.
        """
        weights, velocities = self._gathered or ([], [self.velocity])
        state = {"rule": self.rule, "weights": weights, "velocity": velocities}
        groups = super().state_dict()["param_groups"]
        return {"state": {}, "param_groups": groups, "decentralised": state}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> bool:  # type: ignore[override]
        """Restore what `state_dict` returned; the parameters hold the average of that moment.

        Returns:
            True if the state has this worker's own weights; else, as with another number of
            workers, all go on from the average, with the mean velocity.

        Raises:
            ValueError: if the state is of another rule, whose velocity has another unit.
        """
        saved = state_dict["decentralised"]
        if saved["rule"] != self.rule:
            raise ValueError(
                f"the checkpoint is of --bas-decentralised {saved['rule']}, whose momentum means "
                f"nothing to {self.rule}; go on with {saved['rule']}, or pass --reset-optimizer"
            )
        groups = state_dict["param_groups"]
        super().load_state_dict({"state": {}, "param_groups": groups})
        weights, velocities = saved["weights"], saved["velocity"]
        exchange = self.exchange
        self._own = self._gathered = None
        if exchange is None or len(weights) != exchange.workers:
            mean = torch.stack([v.double() for v in velocities]).mean(dim=0)
            self.velocity.copy_(mean)
            return exchange is None and len(velocities) == 1
        self.velocity.copy_(velocities[exchange.worker])
        self._own = weights[exchange.worker].to(self.velocity, copy=True)
        return True
