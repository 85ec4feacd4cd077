"""Run micro-batches through the training step of a task, and keep the gradient of every copy.

Shapes: K micro-batches, R copies of each, G groups of them.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fairseq import utils
from torch import Tensor

from ..data.sampled_pairs import SampledPairs
from ..measure.gradient_groups import GradientGroups
from .gradient_batches import MicroBatch, collate
from .gradient_setup import GradientSetup
from .progress import Progress

GROUP_BYTES = 2 << 30
FEWEST_GROUPS, MOST_GROUPS = 8, 32


def number_of_groups(micro_batches: int, parameters: int) -> int:
    """Return G, groups of micro-batches that are left out in turn for error bars.

    Each group takes the memory of a gradient; more groups make error bars surer.

    Args:
        micro_batches: K.
        parameters: numbers in a gradient.

    >>> number_of_groups(64, 10**6), number_of_groups(64, 10**8), number_of_groups(5, 10**8)
    (32, 8, 5)
    """
    affordable = GROUP_BYTES // (4 * parameters)
    return min(micro_batches, max(FEWEST_GROUPS, min(MOST_GROUPS, affordable)))


@dataclass
class Measured:
    """Hold what was gathered, and how much was read for it.

    Attributes:
        groups: the gradients.
        sentences: distinct sentences of all micro-batches.
        tokens: their target tokens.
        weight: what their gradients are divided by: target tokens, or sentences.
        seconds: that it took.
    """

    groups: GradientGroups
    sentences: int = 0
    tokens: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0

    def merge(self, other: "Measured") -> None:
        """Take over another measurement with the same number of groups."""
        self.groups.merge(other.groups)
        self.sentences += other.sentences
        self.tokens += other.tokens
        self.weight += other.weight
        self.seconds += other.seconds


class GradientRun:
    """Measure gradients as training computes them, copy by copy.

    Args:
        setup: task, model and loss, with R copies in R passes.
        is_noisy: False for the model in evaluation mode and without copies: no noise at all.
        keeps_apart: False to add all copies up, wherever they run, as training does.
    """

    def __init__(self, setup: GradientSetup, is_noisy: bool = True, keeps_apart: bool = True):
        self.setup, self.is_noisy = setup, is_noisy
        self._recorder = _PassRecorder(setup.parameters, setup.replicas if keeps_apart else 1)

    def measure(
        self,
        batches: Sequence[MicroBatch],
        groups: int,
        first_key: int = 0,
        progress: Progress | None = None,
    ) -> Measured:
        """Gather the gradients of micro-batches.

        Args:
            batches: K; micro-batch k is in group k modulo G.
            groups: G.
            first_key: number of the first micro-batch; each number has noise of its own.
            progress: is told of each micro-batch.
        """
        replicas = self.setup.replicas
        measured = Measured(GradientGroups(self.setup.parameters, groups, replicas))
        start = time.perf_counter()
        for number, batch in enumerate(batches):
            copies, weight, tokens = self.gradients(batch, first_key + number)
            measured.groups.add(number % groups, copies, weight)
            measured.sentences += batch.sentences
            measured.weight += weight
            measured.tokens += tokens
            if progress is not None:
                progress.step()
        measured.seconds = time.perf_counter() - start
        return measured

    def gradients(
        self, batch: MicroBatch, key: int
    ) -> tuple[Sequence[Sequence[Tensor]], float, float]:
        """Return the gradients of a micro-batch, valid until the next call.

        Args:
            batch: whose.
            key: of its noise.

        Returns:
            One gradient for each copy, a list of tensors summed over the tokens; what they are
            divided by, the trainer's sample size; and the target tokens.

        Raises:
            ValueError: if the micro-batch has no token that counts.
        """
        setup, recorder = self.setup, self._recorder
        if isinstance(setup.dataset, SampledPairs):
            setup.dataset.set_epoch(key + 1)  # segmentations are drawn by epoch
        recorder.clear()
        seen: dict[int, int] = {}
        weight = tokens = 0.0
        for part in batch.parts:
            sample = collate(setup.dataset, part, seen)
            tokens += float(sample["target"].ne(setup.task.target_dictionary.pad()).sum())
            if setup.device.type == "cuda":
                sample = utils.move_to_cuda(sample)
            weight += self._step(sample, setup.updates + key)
        if isinstance(setup.dataset, SampledPairs):
            tokens /= setup.replicas
        if not weight > 0:
            raise ValueError(
                "a micro-batch has no target token, so it has no gradient; check the data"
            )
        return recorder.copies, weight, tokens

    def _step(self, sample: dict[str, Any], update_num: int) -> float:
        """Run one part through the training step; return its sample size."""
        setup = self.setup
        if self.is_noisy:
            _, sample_size, _ = setup.task.train_step(
                sample, setup.model, setup.criterion, self._recorder, update_num
            )
            return float(sample_size)
        setup.model.eval()
        cudnn: Any = contextlib.nullcontext()
        if setup.device.type == "cuda":  # whose recurrent layers differentiate in training only
            cudnn = torch.backends.cudnn.flags(enabled=False)
        with cudnn:
            loss, sample_size, _ = setup.criterion(setup.model, sample)
            self._recorder.backward(loss)
        return float(sample_size)

    def seconds_of(self, batches: Sequence[MicroBatch]) -> float:
        """Return the median time of the training step of a micro-batch, in seconds.

        Args:
            batches: at least two; the first is not counted.
        """
        times = []
        for number, batch in enumerate(batches):
            start = time.perf_counter()
            self.gradients(batch, number)
            if self.setup.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return float(torch.tensor(times[1:] or times).median())


class _PassRecorder:
    """Stand in for the optimizer of a training step, and keep the passes apart.

    The task divides each loss by R, as their sum is what training wants; here that is undone.

    Args:
        parameters: of the model.
        passes: R, which come in turn for every part of a micro-batch.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], passes: int):
        self._parameters, self._next = parameters, 0
        self.copies = [[torch.zeros_like(p) for p in parameters] for _ in range(passes)]

    def clear(self) -> None:
        self._next = 0
        for total in (tensor for copy in self.copies for tensor in copy):
            total.zero_()

    def backward(self, loss: Tensor) -> None:
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()
        count = len(self.copies)
        copy = self.copies[self._next % count]
        self._next += 1
        for total, parameter in zip(copy, self._parameters, strict=True):
            if parameter.grad is not None:
                total.add_(parameter.grad, alpha=count)
                parameter.grad = None


def out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error is that a device has too little memory."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)
