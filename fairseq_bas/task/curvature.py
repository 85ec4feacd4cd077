"""Measure the curvature of the loss in the course of training, for batch schedules that follow it.

Shapes: n parameters.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from ..criterion.summed_loss import logits_of, summed_loss
from ..data.fixed_text import SurfaceText, choose, on_device, text_of_pairs, windows
from ..data.streams import StreamText
from ..measure.hessian_product import choose_method, hessian_product
from ..measure.lanczos import largest_eigenvalue
from ..measure.loss_surface import LossSurface
from ..model.unwrap import unwrapped
from ..rng import derive_seed

logger = logging.getLogger(__name__)

STEPS = 10
"""Most products with the Hessian in one measurement, as in ABSA."""

MAX_TOKENS = 4096
"""Of a micro-batch of the sample, where ``--max-tokens`` does not bound those of training."""

HALF_PRECISION = ("fp16", "bf16", "memory_efficient_fp16", "memory_efficient_bf16")


class Curvature:
    """Measure the largest eigenvalue of the Hessian where the batch controller is due for it.

    The Hessian is that of the mean cross-entropy on a sample of the training text, without noise,
    copies, dropout or label smoothing. The sample is chosen once, by the run's seed. The first
    worker measures and the others take its value, so that all decide alike.

    Attributes:
        latest: the last eigenvalue; None before the first.

    Args:
        controller: has ``sentences``, ``is_due``, ``begin_measurement``, ``observe_curvature``.
    """

    def __init__(self, controller: Any):
        self.controller = controller
        self.latest: float | None = None
        self._method: str | None = None
        self._text: SurfaceText | None = None
        self._task: Any = None
        self._trainer: Any = None
        self._iterator: Any = None

    def attach_iterator(self, iterator: Any) -> None:
        """Take the sample from what this iterator over the training text reads."""
        self._iterator = iterator

    def begin_run(self, task: Any, trainer: Any) -> None:
        """Get to know the model and the length of the run.

        Raises:
            ValueError: one sentence, if its numbers or its parts make curvature meaningless.
        """
        self._task, self._trainer = task, trainer
        name = self.controller.name
        given = [flag for flag in HALF_PRECISION if getattr(trainer.cfg.common, flag)]
        if given:
            raise ValueError(
                f"--bas-batch-schedule {name} measures a Hessian, for which the weights of "
                f"--{given[0].replace('_', '-')} are too coarse; pass --amp instead"
            )
        if str(trainer.cfg.distributed_training.ddp_backend) == "fully_sharded":
            raise ValueError(
                f"--bas-batch-schedule {name} measures a Hessian, and with --ddp-backend "
                "fully_sharded no worker has the whole model; pass --ddp-backend legacy_ddp"
            )
        limits = trainer.cfg.optimization
        self.controller.progress = lambda clock: min(
            1.0,
            max(
                clock.updates / limits.max_update if limits.max_update else 0.0,
                clock.epochs / limits.max_epoch if limits.max_epoch else 0.0,
            ),
        )

    def after_update(self, planner: Any) -> None:
        """Measure if it is time to.

        Args:
            planner: of the updates.
        """
        clock = planner.plan.clock
        if not self.controller.is_due(clock):
            return
        self.controller.begin_measurement(clock)
        update = self._trainer.get_num_updates()
        value = torch.zeros(1, dtype=torch.float64)
        joined = dist.is_available() and dist.is_initialized()
        if not joined or dist.get_rank() == 0:
            value += self._measure(update)
        if joined:
            value = value.to("cuda" if dist.get_backend() == "nccl" else "cpu")
            dist.broadcast(value, src=0)
        self.latest = float(value)
        self.controller.observe_curvature(self.latest)
        logger.info(
            f"largest eigenvalue of the Hessian after update {update}: {self.latest:.4g}; batch "
            f"{planner.decide(clock).multiple:g}x"
        )

    def _measure(self, update: int) -> float:
        model = unwrapped(self._trainer.get_model())
        if self._text is None:
            self._text = self._sample()
        device = next(model.parameters()).device
        padding = self._task.target_dictionary.pad()
        with _in_eval_mode(model):
            surface = LossSurface(
                model,
                [on_device(batch, device) for batch in self._text.batches],
                summed_loss(logits_of(padding), padding),
                self._text.tokens,
            )
            self._method = self._method or choose_method(surface)
            generator = torch.Generator(device)
            generator.manual_seed(derive_seed(self._task.cfg.seed, "curvature", update))
            product = hessian_product(surface, self._method)
            return largest_eigenvalue(product, surface.size, generator, STEPS)[0]

    def _sample(self) -> SurfaceText:
        """Choose sentences among those that training reads, or windows of its text."""
        cfg, count = self._task.cfg, self.controller.sentences
        max_tokens = self._trainer.cfg.dataset.max_tokens or MAX_TOKENS
        seed = derive_seed(cfg.seed, "curvature", 0)
        dataset = self._task.dataset(cfg.train_subset)
        if isinstance(dataset, StreamText):
            return windows(dataset, cfg.tokens_per_sample, count, seed, max_tokens)
        used = np.sort(np.concatenate(self._iterator.frozen_batches))
        # Where segmentations are sampled, the data set inside has the stored ones.
        plain = getattr(dataset, "dataset", dataset) if hasattr(dataset, "samplers") else dataset
        return text_of_pairs(plain, used[choose(len(used), count, seed)], max_tokens)


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluate within the block; afterwards every part is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
