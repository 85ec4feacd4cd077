"""What losses share that form logits and gradients a chunk of tokens at a time.

Shapes: N tokens, H hidden, V vocabulary, C tokens of a chunk.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .weight_sum import WeightSum
from .wide_product import add_product_, wide_type

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


def logit_sum(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the sum of all logits, over tokens and vocabulary, from sums of their factors.

    Args:
        features: (N, H).
        weight: (V, H).
        bias: (V,) or None.

    Returns:
        0-dim, at least float32.

    >>> logit_sum(torch.ones(2, 3), torch.ones(4, 3), None).item()
    24.0
    """
    wide = wide_type(weight.dtype)
    total = features.sum(dim=0, dtype=wide).dot(weight.sum(dim=0, dtype=wide))
    return total if bias is None else total + features.size(0) * bias.sum(dtype=wide)


class Gradients:
    """Sums of the gradients of the loss, in at least float32.

    What the gradients with respect to all logits have in common, ``- uniform``, and what those of a
    row have as a factor, are left out of the products and put into their much smaller results.

    Args:
        features: (N, H).
        weight: (V, H).
        bias: (V,) or None.
        needed: which of the gradients of these three are wanted.
        columns: blocks of the vocabulary.
        uniform: what has to be taken off the gradient with respect to every logit.
        bound: greatest size of a gradient with respect to a logit, >= 1.
    """

    def __init__(
        self,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        needed: Sequence[bool],
        columns: Sequence[slice],
        uniform: float = 0.0,
        bound: float = 1.0,
    ) -> None:
        self._features, self._weight = features, weight
        self._columns, self._uniform = columns, uniform
        self._is_half = features.dtype != wide_type(features.dtype)
        self._scale = HALF_SCALE / 2.0 ** math.ceil(math.log2(bound)) if self._is_half else 1.0
        of_features, of_weight, of_bias = needed
        self._of_features = _zeros(features) if of_features else None
        self._of_weight = WeightSum(weight, columns) if of_weight else None
        self._of_bias = _zeros(bias) if of_bias and bias is not None else None

    def add(self, rows: slice, delta: Sequence[Tensor], factor: Tensor | None = None) -> None:
        """Add the share of some tokens.

        Args:
            rows: the tokens, C of them.
            delta: for each block (C, B), together d loss / d logits + uniform, but for the factor.
            factor: (C, 1), what each row of ``delta`` has to be multiplied by; None for 1.
        """
        features = self._features[rows]
        if not self._is_half and factor is not None:
            features = features * factor
        totals = None if self._of_features is None else self._of_features[rows]
        of_weight = self._of_weight
        left = None if of_weight is None else of_weight.left(features)
        for number, (part, block) in enumerate(zip(self._columns, delta, strict=True)):
            if self._of_bias is not None:
                self._add_bias(self._of_bias[part], block, factor)
            if self._is_half:
                block = self._halved(block, factor)
            if totals is not None:
                add_product_(totals, block, self._weight[part])
            if of_weight is not None and left is not None:
                of_weight.add(number, left, block)
        if totals is not None and not self._is_half and factor is not None:
            totals.mul_(factor)

    def _add_bias(self, total: Tensor, block: Tensor, factor: Tensor | None) -> None:
        if factor is None:
            total.add_(block.sum(dim=0), alpha=self._scale)
        else:
            total.addmv_(block.t(), factor.squeeze(1), alpha=self._scale)

    def _halved(self, block: Tensor, factor: Tensor | None) -> Tensor:
        scale = self._scale if factor is None else factor * self._scale
        return torch.mul(block, scale, out=torch.empty_like(block, dtype=self._weight.dtype))

    def finish(self) -> list[Tensor | None]:
        """Return the gradients of features, weight and bias, None where not needed."""
        of_weight = None if self._of_weight is None else self._of_weight.finish()
        found = [self._of_features, of_weight, self._of_bias]
        for total in found:
            if total is not None and self._is_half:
                total.div_(self._scale)
        if self._uniform:
            wide = wide_type(self._weight.dtype)
            if self._of_features is not None:
                self._of_features.sub_(self._weight.sum(dim=0, dtype=wide), alpha=self._uniform)
            if of_weight is not None:
                of_weight.sub_(self._features.sum(dim=0, dtype=wide), alpha=self._uniform)
            if self._of_bias is not None:
                self._of_bias.sub_(self._uniform * self._features.size(0))
        return found


def _zeros(x: Tensor) -> Tensor:
    return torch.zeros_like(x, dtype=wide_type(x.dtype))
