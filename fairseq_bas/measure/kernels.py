"""Kernels that can be differentiated: twice, and in eval mode.

Fused kernels are fast and know their first derivative only: those of attention, of cuDNN's
recurrent layers and of oneDNN's. The plain ones can be differentiated any number of times.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Compute forward passes within the block by operations that can be differentiated twice.

    Attention is by matrix products and a softmax, recurrent layers are without cuDNN and oneDNN.
    Values differ by rounding.

    >>> with plain_kernels():
    ...     torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled
    (False, False)
    """
    # Not by their flags(), which change precision too and warn.
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.mkldnn)
    before = [backend.enabled for backend in backends]
    try:
        for backend in backends:
            backend.enabled = False
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for backend, enabled in zip(backends, before, strict=True):
            backend.enabled = enabled


@contextmanager
def trainable_recurrence(model: nn.Module) -> Iterator[None]:
    """Let cuDNN differentiate recurrent layers in eval mode, which it refuses.

    Within the block those of torch on a GPU are in training mode with dropout 0: the same values.

    Args:
        model: holds ``torch.nn.LSTM`` or the like, or none.
    """
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.RNNBase) and not layer.training and _on_gpu(layer)
    ]
    rates = [layer.dropout for layer in layers]
    try:
        for layer in layers:
            layer.training, layer.dropout = True, 0.0
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.training, layer.dropout = False, rate


def _on_gpu(layer: nn.Module) -> bool:
    return any(parameter.is_cuda for parameter in layer.parameters())
