"""Label-smoothed cross entropy of a linear output layer that never holds all its logits.

Logits, loss and gradients are formed a chunk of tokens at a time, all in the forward pass: three
matrix products in all, as many as the plain way, and nothing is computed twice. The backward pass
only multiplies by the incoming number. Memory: one chunk of logits instead of N x V.

Shapes: N tokens, H hidden, V vocabulary, C tokens of a chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .wide_product import add_product_, wide_product, wide_type

CHUNK_BYTES = {"cpu": 2**25}
"""Bytes of float32 logits in an automatic chunk, by device type. On a CPU larger chunks are no
faster, and below a quarter of it the weight gradient, read and written once a chunk, shows."""
CHUNK_BYTES_ELSEWHERE = 2**28
MIN_CHUNK_TOKENS = 128
HALF_SCALE = 2.0**15
"""Factor on d loss / d logits (at most about 1) before a cast to half precision, where otherwise
what is below 6e-8 vanishes; taken back in float32. A power of two, so it rounds nothing."""


def chunked_smoothed_loss(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    epsilon: float = 0.0,
    padding_idx: int | None = None,
    chunk_tokens: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the label-smoothed cross entropy of softmax(features @ weight.T + bias).

    With p the softmax, y the target, e = ``epsilon`` and e_i = e / (V - 1), the loss of a token is
    (1 - e - e_i) * -log p_y + e_i * sum_v -log p_v. That is fairseq's smoothing: 1 - e on the
    target and e_i on every other word (torch spreads e over all V words, the target too).

    Softmax and sums are taken in float32 (float64 for float64 inputs). Under autocast the inputs
    are cast as ``torch.nn.functional.linear`` would cast them.

    Args:
        features: (N, H) floating point.
        weight: (V, H), dtype of ``features``; may be tied to an embedding. V >= 2.
        bias: (V,), dtype of ``features``; None for none.
        target: (N,) int64 in [0, V), or ``padding_idx``.
        epsilon: label smoothing in [0, 1).
        padding_idx: tokens with this target are left out before any work; None for none.
        chunk_tokens: C, tokens whose logits are held at a time, >= 1; None chooses by V and device.

    Returns:
        The loss summed over tokens, 0-dim, differentiable once; and -log p_y of each token, (N,),
        without gradient, 0 where the target is padding. Both at least float32.

    Raises:
        ValueError: if shapes or dtypes do not fit, or ``epsilon`` or ``chunk_tokens`` is out of
            range.

    >>> features, weight = torch.zeros(3, 2), torch.zeros(4, 2)
    >>> target = torch.tensor([0, 1, 3])
    >>> loss, nll = chunked_smoothed_loss(features, weight, None, target, padding_idx=1)
    >>> round(loss.item(), 4), [round(x, 4) for x in nll.tolist()]
    (2.7726, [1.3863, 0.0, 1.3863])
    """
    _check(features, weight, target, bias, epsilon, chunk_tokens)
    num_tokens, kept = target.size(0), None
    if padding_idx is not None:
        kept = target.ne(padding_idx).nonzero().squeeze(1)
        features, target = features.index_select(0, kept), target.index_select(0, kept)
    device = features.device.type
    chunk = chunk_tokens or automatic_chunk_tokens(weight.size(0), device)
    features, weight, bias = _as_under_autocast(features, weight, bias)
    with torch.autocast(device, enabled=False):
        loss, nll = _ChunkedSmoothedLoss.apply(
            features, weight, bias, target, epsilon, chunk, torch.is_grad_enabled()
        )
    if kept is not None:
        nll = nll.new_zeros(num_tokens).index_copy_(0, kept, nll)
    return loss, nll


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


def _check(
    features: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    epsilon: float,
    chunk_tokens: int | None,
) -> None:
    shapes = [tuple(x.shape) for x in (features, weight, target)]
    if features.dim() != 2 or weight.dim() != 2 or features.size(1) != weight.size(1):
        raise ValueError(f"features and weight are {shapes[:2]}; give (N, H) and (V, H)")
    if target.shape != features.shape[:1] or target.dtype != torch.int64:
        raise ValueError(
            f"target is {target.dtype} {shapes[2]} for features {shapes[0]}; give int64 (N,)"
        )
    if weight.size(0) < 2:
        raise ValueError("the vocabulary has one word, which leaves nothing to predict; give two")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias is {tuple(bias.shape)} for weight {shapes[1]}; give (V,)")
    if not 0 <= epsilon < 1:
        raise ValueError(f"label smoothing {epsilon} is outside [0, 1); give a number in it")
    if chunk_tokens is not None and chunk_tokens < 1:
        raise ValueError(f"a chunk of {chunk_tokens} tokens holds none; give 1 or more")


def _as_under_autocast(
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


class _ChunkedSmoothedLoss(torch.autograd.Function):
    """The loss with its gradients formed in the forward pass and kept for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        epsilon: float,
        chunk: int,
        grad_enabled: bool,
    ) -> tuple[Tensor, Tensor]:
        # Inside forward() gradients are always off and needs_input_grad ignores no_grad().
        needed = [grad_enabled and need for need in ctx.needs_input_grad[:3]]
        gradients = _Gradients(features, weight, bias, needed) if any(needed) else None
        num_tokens, vocabulary = features.size(0), weight.size(0)
        wide = wide_type(features.dtype)
        off_target = epsilon / (vocabulary - 1)
        on_target = 1.0 - epsilon - off_target
        nll = features.new_empty(num_tokens, dtype=wide)
        smooth = torch.empty_like(nll)
        buffer = features.new_empty(min(chunk, num_tokens), vocabulary, dtype=wide)
        for start in range(0, num_tokens, chunk):
            rows = slice(start, min(start + chunk, num_tokens))
            gold = target[rows, None]
            logits = _logits(features[rows], weight, bias, buffer)
            nll[rows], smooth[rows], normaliser = _exponentiate(logits, gold)
            if gradients is not None:
                delta = logits.div_(normaliser).sub_(off_target)
                delta.scatter_(1, gold, delta.gather(1, gold) - on_target)
                gradients.add(rows, delta)
        if gradients is not None:
            ctx.save_for_backward(*gradients.finish())
        ctx.dtype = features.dtype
        ctx.mark_non_differentiable(nll)
        return on_target * nll.sum() + off_target * smooth.sum(), nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        # Multiplied in float32, before the cast: a loss scale has to act on unrounded gradients.
        gradients = [
            None if grad is None else (grad * grad_loss).to(ctx.dtype) for grad in ctx.saved_tensors
        ]
        return (*gradients, None, None, None, None)


class _Gradients:
    """Sums of the gradients of the loss, in at least float32.

    ``needed`` says which of the gradients of features (N, H), weight (V, H), bias (V,) are wanted.
    """

    def __init__(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, needed: list[bool]
    ) -> None:
        self._features, self._weight = features, weight
        self._is_half = features.dtype != wide_type(features.dtype)
        self._sums = [
            torch.zeros_like(x, dtype=wide_type(x.dtype)) if need and x is not None else None
            for x, need in zip((features, weight, bias), needed, strict=True)
        ]

    def add(self, rows: slice, delta: Tensor) -> None:
        """Add the share of the tokens ``rows``; ``delta``, d loss / d logits (C, V), is lost."""
        of_features, of_weight, of_bias = self._sums
        if self._is_half:
            delta.mul_(HALF_SCALE)
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
                    total.div_(HALF_SCALE)
        return self._sums


def _logits(features: Tensor, weight: Tensor, bias: Tensor | None, buffer: Tensor) -> Tensor:
    """Write the logits (C, V) of a chunk over the first C rows of ``buffer``."""
    out = buffer[: features.size(0)]
    if features.dtype == out.dtype:
        torch.mm(features, weight.t(), out=out)
    else:
        out.copy_(wide_product(features, weight.t()))
    return out if bias is None else out.add_(bias)


def _exponentiate(logits: Tensor, gold: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turn the logits (C, V) of a chunk into multiples of their softmax, in place.

    Args:
        logits: (C, V); left as exp(logits - largest of the row).
        gold: (C, 1) int64, the targets.

    Returns:
        -log p of the target (C,), sum_v -log p_v (C,), and what ``logits`` now has to be divided by
        to be the softmax (C, 1).
    """
    logits.sub_(logits.amax(dim=1, keepdim=True))
    at_gold, total = logits.gather(1, gold), logits.sum(dim=1)
    normaliser = logits.exp_().sum(dim=1, keepdim=True)
    log_normaliser = normaliser.log()
    nll = (log_normaliser - at_gold).squeeze(1)
    return nll, logits.size(1) * log_normaliser.squeeze(1) - total, normaliser
