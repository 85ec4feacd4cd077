"""torch's fused LSTM kernels as functions of their weights.

Shapes: T time steps, B rows, I input, H hidden.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

LayerState = tuple[Tensor, Tensor]


Layer = Callable[..., tuple[Tensor, LayerState]]


def _in_a_precision_that_can_run(layer: Layer) -> Layer:
    """Leave autocast for layers that this CPU cannot run in its precision.

    Without AVX-512 oneDNN has no LSTM in half precision, but torch asks it for one and fails.
    """

    @functools.wraps(layer)
    def run(
        x: Tensor, state: LayerState, weights: Sequence[Tensor], *rest: Any
    ) -> tuple[Tensor, LayerState]:
        if not _lacks_half_kernel(x):
            return layer(x, state, weights, *rest)
        dtype = weights[0].dtype
        with torch.autocast("cpu", enabled=False):
            return layer(x.to(dtype), tuple(part.to(dtype) for part in state), weights, *rest)

    return run


def _lacks_half_kernel(x: Tensor) -> bool:
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    if torch.get_autocast_dtype("cpu") == torch.bfloat16:
        return not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return not torch.ops.mkldnn._is_mkldnn_fp16_supported()


@_in_a_precision_that_can_run
def fused_lstm(
    x: Tensor, state: LayerState, weights: Sequence[Tensor]
) -> tuple[Tensor, LayerState]:
    """Run one LSTM layer, as ``torch.nn.LSTM`` does, with weights that are given.

    Args:
        x: (T, B, I), T >= 1.
        state: hidden state and cell before the first step, (B, H) each.
        weights: weight_ih (4H, I), weight_hh (4H, H), bias_ih (4H,), bias_hh (4H,).

    Returns:
        Hidden states (T, B, H); and the last hidden state and cell, (B, H) each.
    """
    hx = [part.unsqueeze(0) for part in state]
    output, h, c = torch._VF.lstm(x, hx, _compact(weights), *_kernel_arguments(), False)
    return output, (h.squeeze(0), c.squeeze(0))


@_in_a_precision_that_can_run
def padded_lstm(
    x: Tensor, state: LayerState, weights: Sequence[Tensor], padding: Tensor
) -> tuple[Tensor, LayerState]:
    """Run an LSTM that leaves the state of a row as it is where the row is padded.

    Equal to leaving those steps out, wherever they are: the others are moved to the front, packed
    and run, and their outputs are moved back. Waits for the lengths, if they are on a GPU.

    Args:
        x: (T, B, I).
        state: hidden state and cell before the first step, (B, H) each.
        weights: as in ``fused_lstm``.
        padding: (T, B) bool.

    Returns:
        Hidden states (T, B, H), at padding those of the step before; and the last hidden state and
        cell, (B, H) each.
    """
    steps_so_far = padding.logical_not().cumsum(dim=0)
    order = padding.to(torch.uint8).argsort(dim=0, stable=True)
    front = x.gather(0, order.unsqueeze(-1).expand_as(x))
    lengths = steps_so_far[-1]
    by_length = lengths.argsort(descending=True)
    back = by_length.argsort()
    # A row of nothing but padding cannot be packed: it runs one step, which is then ignored.
    cut = lengths[by_length].clamp(min=1).cpu()
    packed = pack_padded_sequence(front[:, by_length], cut)
    hx = [part[by_length].unsqueeze(0) for part in state]
    data, _, cell = torch._VF.lstm(
        packed.data, packed.batch_sizes, hx, _compact(weights), *_kernel_arguments()
    )
    hidden, _ = pad_packed_sequence(PackedSequence(data, packed.batch_sizes))
    hidden = torch.cat([state[0].to(hidden.dtype).unsqueeze(0), hidden[:, back]])
    output = hidden.gather(0, steps_so_far.unsqueeze(-1).expand(-1, -1, hidden.size(-1)))
    empty, cell = (lengths == 0).unsqueeze(-1), cell.squeeze(0)[back]
    return output, (output[-1], torch.where(empty, state[1].to(cell.dtype), cell))


def _kernel_arguments() -> tuple[bool, int, float, bool, bool]:
    """Return: biases, layers, dropout, whether backward follows, both directions."""
    # A model in eval mode may be differentiated too, which cuDNN refuses if told otherwise.
    return True, 1, 0.0, torch.is_grad_enabled(), False


def _compact(weights: Sequence[Tensor]) -> list[Tensor]:
    """Lay weights out one after the other on a GPU, where cuDNN would otherwise do it and warn."""
    if not weights[0].is_cuda:
        return list(weights)
    flat = torch.cat([weight.flatten() for weight in weights])
    parts = flat.split([weight.numel() for weight in weights])
    return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]
