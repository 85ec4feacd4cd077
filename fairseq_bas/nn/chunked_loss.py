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

from .chunk_gradients import (
    Gradients,
    as_under_autocast,
    automatic_chunk_tokens,
    check_output_layer,
    logit_sum,
)
from .logit_blocks import LogitBlocks, vocabulary_blocks
from .wide_product import wide_type


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
    _check(features, weight, target)
    check_output_layer(weight, bias, epsilon, chunk_tokens)
    num_tokens, kept = target.size(0), None
    if padding_idx is not None:
        kept = target.ne(padding_idx).nonzero().squeeze(1)
        features, target = features.index_select(0, kept), target.index_select(0, kept)
    device = features.device.type
    chunk = chunk_tokens or automatic_chunk_tokens(weight.size(0), device)
    features, weight, bias = as_under_autocast(features, weight, bias)
    with torch.autocast(device, enabled=False):
        loss, nll = _ChunkedSmoothedLoss.apply(
            features, weight, bias, target, epsilon, chunk, torch.is_grad_enabled()
        )
    if kept is not None:
        nll = nll.new_zeros(num_tokens).index_copy_(0, kept, nll)
    return loss, nll


def _check(features: Tensor, weight: Tensor, target: Tensor) -> None:
    shapes = [tuple(x.shape) for x in (features, weight, target)]
    if features.dim() != 2 or weight.dim() != 2 or features.size(1) != weight.size(1):
        raise ValueError(f"features and weight are {shapes[:2]}; give (N, H) and (V, H)")
    if target.shape != features.shape[:1] or target.dtype != torch.int64:
        raise ValueError(
            f"target is {target.dtype} {shapes[2]} for features {shapes[0]}; give int64 (N,)"
        )


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
        num_tokens, vocabulary = features.size(0), weight.size(0)
        off_target = epsilon / (vocabulary - 1)
        on_target = 1.0 - epsilon - off_target
        columns = vocabulary_blocks(vocabulary, features.device.type)
        gradients = (
            Gradients(features, weight, bias, needed, columns, off_target) if any(needed) else None
        )
        log_normaliser = features.new_empty(num_tokens, 1, dtype=wide_type(features.dtype))
        nll = torch.empty_like(log_normaliser)
        for start in range(0, num_tokens, chunk):
            of_chunk = slice(start, min(start + chunk, num_tokens))
            logits = LogitBlocks(features[of_chunk], weight, bias, columns)
            results = nll[of_chunk], log_normaliser[of_chunk]
            gold = target[of_chunk, None]
            factor = _exponentiate(logits, gold, on_target, results, gradients is not None)
            if gradients is not None:
                gradients.add(of_chunk, logits.blocks, factor)
        if gradients is not None:
            ctx.save_for_backward(*gradients.finish())
        ctx.dtype = features.dtype
        nll = nll.squeeze(1)
        ctx.mark_non_differentiable(nll)
        loss = on_target * nll.sum()
        if off_target:
            loss += off_target * (
                vocabulary * log_normaliser.sum() - logit_sum(features, weight, bias)
            )
        return loss, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        # Multiplied in float32, before the cast: a loss scale has to act on unrounded gradients.
        gradients = [
            None if grad is None else (grad * grad_loss).to(ctx.dtype) for grad in ctx.saved_tensors
        ]
        return (*gradients, None, None, None, None)


def _exponentiate(
    logits: LogitBlocks,
    target: Tensor,
    on_target: float,
    results: tuple[Tensor, Tensor],
    wants_gradient: bool,
) -> Tensor:
    """Work through a chunk, a few tokens at a time.

    Args:
        logits: (C, V); if a gradient is wanted, left as d loss / d logits + off_target, but for a
            factor of each row.
        target: (C, 1).
        on_target: weight of -log p_y.
        results: -log p_y (C, 1) and the logarithm of the normaliser (C, 1), which are filled.
        wants_gradient: False leaves the logits undefined.

    Returns:
        The factors (C, 1): one over the normaliser of exp(logits - largest of the row).
    """
    nll, log_normaliser = results
    factor = torch.empty_like(nll)
    for rows, some in logits.rows(1, keep=wants_gradient):
        gold = target[rows]
        largest = some.amax(dim=1, keepdim=True)
        at_gold = some.sub_(largest).gather(1, gold)
        normaliser = some.exp_().sum(dim=1, keepdim=True)
        nll[rows] = normaliser.log() - at_gold
        log_normaliser[rows] = normaliser.log() + largest
        factor[rows] = normaliser.reciprocal()
        if wants_gradient:
            some.scatter_add_(1, gold, -on_target * normaliser)
    return factor
