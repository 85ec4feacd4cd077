"""Read what an update has logged without waiting for what the device was given to do afterwards.

To read a number from a GPU is to wait for all work queued before it, here the step of the
optimizer, after which the device would stand still until the next forward pass is queued. fairseq
waits for the norm of the gradient anyway, before that step; what was logged is there by then, and
a second stream reads it.
"""

from collections.abc import Sequence
from typing import Any

import torch


class EarlyReader:
    """Read numbers that were computed before a mark."""

    def __init__(self) -> None:
        self._ready: Any = None
        self._stream: Any = None

    def mark(self) -> None:
        """Take note that all numbers to be read next have been queued."""
        if torch.cuda.is_initialized():
            self._stream = self._stream or torch.cuda.Stream()
            self._ready = torch.cuda.current_stream().record_event()

    def numbers(self, values: Sequence[Any]) -> list[float]:
        """Return numbers as floats, those on a GPU in one transfer.

        Args:
            values: numbers, or tensors of one element that were computed before the mark.
        """
        on_device = [isinstance(value, torch.Tensor) and value.is_cuda for value in values]
        if self._ready is None or not any(on_device):
            return [float(value) for value in values]
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self._ready)
            wanted = [v for v, is_there in zip(values, on_device, strict=True) if is_there]
            read = iter(torch.stack([v.detach().double().reshape(()) for v in wanted]).tolist())
        return [
            next(read) if is_there else float(value)
            for value, is_there in zip(values, on_device, strict=True)
        ]


def mean_loss(logs, numbers):
    """Return nats per target token of the distinct batch, or None where a loss logs neither.

    Args:
        logs: the logging outputs of all micro-batches and workers.
        numbers: returns a list of logged values as floats.
    """
    key = "nll_loss" if "nll_loss" in logs[0] else "loss"
    if key not in logs[0]:
        return None
    read = numbers([log.get("ntokens", 0) for log in logs] + [log[key] for log in logs])
    tokens, loss = sum(read[: len(logs)]), sum(read[len(logs) :])
    return loss / tokens if tokens else None
