"""What losses share that form logits and gradients a chunk of tokens at a time.

Shapes: N tokens, H hidden, V vocabulary, C tokens of a chunk.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .wide_product import add_product_, wide_product, wide_type

CHUNK_BYTES = {"cpu": 2**25}
"""Bytes of float32 logits in an automatic chunk, by device type. On a CPU larger chunks are no
faster, and below a quarter of it the weight gradient, read and written once a chunk, shows."""
CHUNK_BYTES_ELSEWHERE = 2**28
MIN_CHUNK_TOKENS = 128
HALF_SCALE = 2.0**15
"""Factor on d loss / d logits (at most about 1) before a cast to half precision, where otherwise
what is below 6e-8 vanishes; taken back in float32. A power of two, so it rounds nothing."""


def automatic_chunk_tokens(vocabulary: int, device_type: str = "cpu") -> int:
    """Return the tokens whose float32 logits fill the chunk budget of a device, at least 128.

    Args:
        vocabulary: V, >= 1.
        device_type: ``torch.device.type``.

    >>> automatic_chunk_tokens(10_000), automatic_chunk_tokens(32_768)
    (838, 256)
    """
    budget = CHUNK_BYTES.get(device_type, CHUNK_BYTES_ELSEWHERE)
    return max(MIN_CHUNK_TOKENS, budget // (4 * vocabulary))


def check_output_layer(
    weight: Tensor, bias: Tensor | None, epsilon: float, chunk_tokens: int | None
) -> None:
    """Require what every chunked loss requires of its output layer and settings.

    Args:
        weight: (V, H), V >= 2.
        bias: (V,) or None.
        epsilon: label smoothing in [0, 1).
        chunk_tokens: >= 1 or None.

    Raises:
        ValueError: if one of them is something else.
    """
    if weight.size(0) < 2:
        raise ValueError("the vocabulary has one word, which leaves nothing to predict; give two")
    if bias is not None and bias.shape != weight.shape[:1]:
        shapes = tuple(bias.shape), tuple(weight.shape)
        raise ValueError(f"bias is {shapes[0]} for weight {shapes[1]}; give (V,)")
    if not 0 <= epsilon < 1:
        raise ValueError(f"label smoothing {epsilon} is outside [0, 1); give a number in it")
    if chunk_tokens is not None and chunk_tokens < 1:
        raise ValueError(f"a chunk of {chunk_tokens} tokens holds none; give 1 or more")


def as_under_autocast(
    features: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast to the autocast dtype where autocast is on, and require one dtype where it is off."""
    device = features.device.type
    if torch.is_autocast_enabled(device) and features.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        return features.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    dtypes = [x.dtype for x in (features, weight, bias) if x is not None]
    if len(set(dtypes)) > 1:
        raise ValueError(f"features, weight and bias have dtypes {dtypes}; cast them to one")
    return features, weight, bias


class Gradients:
    """Sums of the gradients of the loss, in at least float32.

    Args:
        features: (N, H).
        weight: (V, H).
        bias: (V,) or None.
        needed: which of the gradients of these three are wanted.
        bound: greatest size of a gradient with respect to a logit, >= 1.
    """

    def __init__(
        self,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        needed: Sequence[bool],
        bound: float = 1.0,
    ) -> None:
        self._features, self._weight = features, weight
        self._scale = HALF_SCALE / 2.0 ** math.ceil(math.log2(bound))
        self._is_half = features.dtype != wide_type(features.dtype)
        self._sums = [
            torch.zeros_like(x, dtype=wide_type(x.dtype)) if need and x is not None else None
            for x, need in zip((features, weight, bias), needed, strict=True)
        ]

    def add(self, rows: slice, delta: Tensor) -> None:
        """Add the share of the tokens ``rows``; ``delta``, d loss / d logits (C, V), is lost."""
        of_features, of_weight, of_bias = self._sums
        if self._is_half:
            delta.mul_(self._scale)
        if of_bias is not None:
            of_bias.add_(delta.sum(dim=0))
        delta = delta.to(self._weight.dtype)
        if of_features is not None:
            add_product_(of_features[rows], delta, self._weight)
        if of_weight is not None:
            add_product_(of_weight, delta.t(), self._features[rows])

    def finish(self) -> list[Tensor | None]:
        """Return the gradients of features, weight and bias, None where not needed."""
        if self._is_half:
            for total in self._sums:
                if total is not None:
                    total.div_(self._scale)
        return self._sums


def logits_of(features: Tensor, weight: Tensor, bias: Tensor | None, buffer: Tensor) -> Tensor:
    """Write the logits (C, V) of a chunk over the first C rows of ``buffer``."""
    out = buffer[: features.size(0)]
    if features.dtype == out.dtype:
        torch.mm(features, weight.t(), out=out)
    else:
        out.copy_(wide_product(features, weight.t()))
    return out if bias is None else out.add_(bias)
