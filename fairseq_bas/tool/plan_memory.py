"""Estimate the memory of a device in training, without training and without the device.

Weights, gradients and optimizer state are counted; what the forward pass keeps for the backward
pass is counted on two and on three sentences of the largest micro-batches and extended to all.

Shapes: B sentences of a micro-batch, R copies in a pass.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..config import Clock
from ..data.train_iterator import TrainIterator
from .plan_activations import Activations, collate, largest_batches
from .plan_setup import PlannedSetup, has_master_weights, keeps_half_weights

logger = logging.getLogger(__name__)

HOW = (
    "weights, gradients and optimizer state are counted; activations are what the forward pass "
    "keeps for the backward pass, counted on 2 and 3 sentences of the largest micro-batches with "
    "all copies of a pass and extended in a straight line; temporary tensors of single operations "
    "and the device's own libraries come on top, so leave a fifth free"
)


@dataclass(frozen=True)
class MemoryEstimate:
    """Hold bytes by what they are for.

    Attributes:
        parts: name -> bytes.
        sentences: B of the micro-batch that keeps most.
        copies: R.
        notes: what the estimate leaves out.
    """

    parts: dict[str, int]
    sentences: int
    copies: int
    notes: list[str]

    @property
    def total(self) -> int:
        """Return the sum."""
        return sum(self.parts.values())


def estimate_memory(
    setup: PlannedSetup, iterator: TrainIterator, clock: Clock, micro_batches: int
) -> MemoryEstimate:
    """Estimate the memory of one device; the model is in the precision of training afterwards.

    Args:
        setup: what the run is made of.
        iterator: over the training set.
        clock: of an update with the largest M.
        micro_batches: of each worker in the largest update.
    """
    parts, notes = state_bytes(setup)
    largest = (0, 0)
    try:
        with _in_training_precision(setup):
            largest = max(
                (Activations(setup, collate(iterator), clock).of(batch, rows), rows)
                for batch, rows in largest_batches(setup, iterator, micro_batches)
            )
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, KeyError) as error:
        # A model of others may need a GPU; the rest of the estimate is worth having.
        logger.info("the forward pass failed", exc_info=True)
        notes.append(f"activations are left out: the forward pass does not run here ({error})")
    parts["activations"] = largest[0]
    return MemoryEstimate(parts, largest[1], copies_in_a_pass(setup, clock), notes)


def copies_in_a_pass(setup: PlannedSetup, clock: Clock) -> int:
    """Return R at a clock."""
    plan = getattr(setup.task, "replica_plan", None)
    return 1 if plan is None else int(plan.at(clock).rows)


# -- what does not depend on the batch ------------------------------------------------------------


def state_bytes(setup: PlannedSetup) -> tuple[dict[str, int], list[str]]:
    """Count the bytes of weights, gradients, optimizer state and their copies.

    Args:
        setup: what the run is made of; its model is still in full precision.

    Returns:
        Name -> bytes, and notes on what is not counted.
    """
    cfg, notes = setup.cfg, []
    modules = (setup.model, setup.criterion)
    parameters = [p for module in modules for p in module.parameters()]
    buffers = [b for module in modules for b in module.buffers()]
    trained = [p for p in parameters if p.requires_grad]
    size = 2 if keeps_half_weights(cfg) else 4
    numel = sum(p.numel() for p in trained)
    parts = {
        "parameters": size
        * sum(t.numel() for t in (*parameters, *buffers) if t.is_floating_point()),
        "gradients": size * numel,
    }
    if has_master_weights(cfg):
        parts["float32 copies of both"] = 2 * 4 * numel
    parts["optimizer state"] = optimizer_bytes(setup, trained)
    if cfg.ema.store_ema:
        parts["moving average"] = (4 if cfg.ema.ema_fp32 else 0) * numel + parts["parameters"]
    large_batch = getattr(setup.task, "large_batch", None)
    measures = large_batch is not None and large_batch.measurement.every
    if measures and setup.task.replica_plan.largest().replicas > 1:
        parts["gradients of copies, to measure"] = 4 * numel
    backend = str(cfg.distributed_training.ddp_backend)
    if setup.workers > 1:
        parts["gradients to send"] = size * numel
        if backend not in ("c10d", "pytorch_ddp", "legacy_ddp", "no_c10d"):
            notes.append(f"what --ddp-backend {backend} splits between workers is counted in full")
        if str(cfg.distributed_training.zero_sharding) == "os":
            parts["optimizer state"] //= setup.workers
    return parts, notes


def optimizer_bytes(setup: PlannedSetup, trained: list[torch.nn.Parameter]) -> int:
    """Count the state that the optimizer has after a step, parameter by parameter.

    Parameters of one shape have one size of state, so one of each takes a step with a gradient of
    its own shape; if the optimizer treats all elements alike, one small matrix is enough.

    Args:
        setup: what the run is made of.
        trained: the parameters.
    """
    numel = sum(p.numel() for p in trained)
    probe = setup.optimizer(torch.zeros(16, 16))
    if probe.supports_flat_params:
        return round(_state_after_step(probe) / 256 * numel)
    sizes = {p.shape: 0 for p in trained}
    for shape in sizes:
        # Layer-wise optimizers refuse to have no matrix at all.
        sizes[shape] = _state_after_step(setup.optimizer(torch.ones(shape), torch.ones(2, 2)))
    return sum(sizes[p.shape] for p in trained)


def _state_after_step(optimizer: Any) -> int:
    """Return the bytes of the first parameter's state after one step."""
    inner = optimizer.optimizer
    if hasattr(inner, "averaging"):
        inner.averaging = True  # the average comes late in a run, but it comes
    parameters = [p for group in inner.param_groups for p in group["params"]]
    for p in parameters:
        p.grad = torch.ones_like(p)
    inner.step()
    tensors = [t for t in inner.state[parameters[0]].values() if isinstance(t, torch.Tensor)]
    # Step counts and the like are not worth counting, and not multiplied by the weights.
    return sum(t.numel() * t.element_size() for t in tensors if t.numel() > 1)


@contextmanager
def _in_training_precision(setup: PlannedSetup) -> Iterator[None]:
    """Let the model compute as in training; bfloat16 stands in for float16, which is as large."""
    if keeps_half_weights(setup.cfg):
        setup.model.to(torch.bfloat16)
        setup.criterion.to(torch.bfloat16)
    yield
