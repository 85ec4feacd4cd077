"""Cross entropy of the copies of a sentence plus a term that compares them, in chunks of tokens.

Logits, loss and gradients are formed a chunk at a time in the forward pass, as in
``chunked_loss``: three matrix products in all, and memory for a few chunks of logits.

Shapes: N tokens, M copies of each, A active copies, H hidden, V vocabulary, C tokens of a chunk.
"""

import math
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
from .divergence import DIVERGENCES, Predictions
from .logit_blocks import LogitBlocks, vocabulary_blocks
from .wide_product import wide_type

LARGEST_LOG_RATIO = 32.0
"""Difference of two copies' log-probabilities for which half precision has range to spare."""


def consistent_smoothed_loss(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    epsilon: float,
    divergence: str,
    coefficient: float,
    padding_idx: int | None = None,
    active: range | slice | None = None,
    chunk_tokens: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the label-smoothed cross entropy of copies, and how far apart they are.

    A token has the loss sum over active copies of CE_m + A c D, with CE as in
    ``chunked_smoothed_loss``, D the divergence of all M copies and c the coefficient. With all
    copies active, a division by M leaves mean CE + c D. Where an update holds the copies in several
    passes, each pass has its own copies active: values and gradients then add up to those of all.

    Args:
        features: (N, M, H) floating point; those of inactive copies get no gradient.
        weight: (V, H), dtype of ``features``.
        bias: (V,) or None.
        target: (N,) int64 in [0, V), or ``padding_idx``; all copies share it.
        epsilon: label smoothing in [0, 1).
        divergence: a key of ``divergence.DIVERGENCES``.
        coefficient: c >= 0.
        padding_idx: tokens with this target are left out; None for none.
        active: the copies, adjacent ones of range(M), whose loss this is; None for all.
        chunk_tokens: rows of logits held at a time (C times M); None chooses by V and device.

    Returns:
        The loss summed over tokens, 0-dim, differentiable once; -log p_y (N, M), without gradient,
        0 for padding; and D summed over tokens, 0-dim, without gradient. All at least float32.

    Raises:
        ValueError: if shapes or dtypes do not fit, the divergence is unknown, or a number or
            ``active`` is out of range.

    >>> features, weight = torch.zeros(1, 2, 2), torch.eye(2)
    >>> target = torch.tensor([1])
    >>> loss, nll, apart = consistent_smoothed_loss(features, weight, None, target, 0.0, "jsd", 1.0)
    >>> round(loss.item(), 4), apart.item()
    (1.3863, 0.0)
    """
    _check(features, weight, target, divergence, coefficient)
    check_output_layer(weight, bias, epsilon, chunk_tokens)
    num_tokens, copies = features.shape[:2]
    own = _active_copies(active, copies)
    kept = None
    if padding_idx is not None:
        kept = target.ne(padding_idx).nonzero().squeeze(1)
        features, target = features.index_select(0, kept), target.index_select(0, kept)
    device = features.device.type
    rows = chunk_tokens or automatic_chunk_tokens(weight.size(0), device)
    features, weight, bias = as_under_autocast(features, weight, bias)
    settings = (epsilon, divergence, coefficient, own, max(1, rows // copies))
    with torch.autocast(device, enabled=False):
        loss, nll, apart = _ConsistentLoss.apply(
            features, weight, bias, target, settings, torch.is_grad_enabled()
        )
    if kept is not None:
        nll = nll.new_zeros(num_tokens, copies).index_copy_(0, kept, nll)
    return loss, nll, apart


def _check(
    features: Tensor, weight: Tensor, target: Tensor, divergence: str, coefficient: float
) -> None:
    if features.dim() != 3 or weight.dim() != 2 or features.size(2) != weight.size(1):
        shapes = tuple(features.shape), tuple(weight.shape)
        raise ValueError(f"features and weight are {shapes}; give (N, M, H) and (V, H)")
    if target.shape != features.shape[:1] or target.dtype != torch.int64:
        raise ValueError(
            f"target is {target.dtype} {tuple(target.shape)} for {features.size(0)} tokens; give "
            "int64 (N,)"
        )
    if divergence not in DIVERGENCES:
        raise ValueError(f"no divergence {divergence!r}; use one of {', '.join(DIVERGENCES)}")
    if not 0 <= coefficient < math.inf:
        raise ValueError(f"coefficient {coefficient} is not a weight; give a number of 0 or more")


def _active_copies(active: range | slice | None, copies: int) -> range:
    """Return the range of the active copies: all of them for None."""
    if active is None or isinstance(active, slice):
        chosen = range(copies)[active or slice(None)]
    else:
        chosen = active
    if not chosen or chosen.step != 1 or chosen.start < 0 or chosen.stop > copies:
        raise ValueError(
            f"active copies are {active} of {copies}; give adjacent ones between 0 and {copies}"
        )
    return chosen


class _ConsistentLoss(torch.autograd.Function):
    """The loss with its gradients formed in the forward pass and kept for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        settings: tuple,
        grad_enabled: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        epsilon, _, coefficient, active, chunk = settings
        num_tokens, copies, hidden = features.shape
        own = slice(active.start, active.stop)
        # Inside forward() gradients are always off and needs_input_grad ignores no_grad().
        needed = [grad_enabled and need for need in ctx.needs_input_grad[:3]]
        bound = 1 + copies * coefficient * LARGEST_LOG_RATIO
        flat = features[:, own].reshape(-1, hidden)
        off_target = epsilon / (weight.size(0) - 1)
        columns = vocabulary_blocks(weight.size(0), features.device.type)
        gradients = None
        if any(needed):
            gradients = Gradients(flat, weight, bias, needed, columns, off_target, bound)
        nll = features.new_empty(num_tokens, copies, dtype=wide_type(features.dtype))
        log_normaliser, apart = torch.empty_like(nll), nll.new_zeros(())
        for start in range(0, num_tokens, chunk):
            tokens = slice(start, min(start + chunk, num_tokens))
            logits = LogitBlocks(features[tokens].flatten(0, 1), weight, bias, columns)
            results = nll[tokens], log_normaliser[tokens], apart
            delta = _compare(logits, target[tokens], settings, results, gradients is not None)
            if gradients is not None:
                done = slice(tokens.start * len(active), tokens.stop * len(active))
                gradients.add(done, delta.blocks)
        on_target = 1.0 - epsilon - off_target
        loss = on_target * nll[:, own].sum() + len(active) * coefficient * apart
        if off_target:
            smooth = weight.size(0) * log_normaliser[:, own].sum()
            loss += off_target * (smooth - logit_sum(flat, weight, bias))
        if gradients is not None:
            ctx.save_for_backward(*gradients.finish())
        ctx.dtype, ctx.shape, ctx.own = features.dtype, features.shape, own
        ctx.mark_non_differentiable(nll, apart)
        return loss, nll, apart

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        of_features, *others = (
            None if grad is None else (grad * grad_loss).to(ctx.dtype) for grad in ctx.saved_tensors
        )
        if of_features is not None and of_features.size(0) < ctx.shape[0] * ctx.shape[1]:
            whole = of_features.new_zeros(ctx.shape)
            whole[:, ctx.own] = of_features.view(ctx.shape[0], -1, ctx.shape[2])
            of_features = whole
        elif of_features is not None:
            of_features = of_features.view(ctx.shape)
        return (of_features, *others, None, None, None)


def _compare(
    logits: LogitBlocks,
    target: Tensor,
    settings: tuple,
    results: tuple[Tensor, Tensor, Tensor],
    wants_gradient: bool,
) -> LogitBlocks:
    """Work through a chunk, a few tokens at a time.

    Args:
        logits: of C M rows; lost.
        target: (C,).
        settings: as `_ConsistentLoss` gets them.
        results: -log p_y (C, M) and the logarithms of the normalisers (C, M), which are filled, and
            the divergence, 0-dim, which is added to.
        wants_gradient: False leaves out what is returned.

    Returns:
        d loss / d logits + off_target of the C A rows of active copies.
    """
    epsilon, divergence, coefficient, active, _ = settings
    nll, log_normaliser, apart = results
    copies, vocabulary = nll.size(1), logits.columns[-1].stop
    on_target = 1.0 - epsilon - epsilon / (vocabulary - 1)
    own = slice(active.start, active.stop)
    all_active = len(active) == copies
    delta = logits if all_active else logits.with_rows(target.size(0) * len(active))
    for rows, some in logits.rows(copies, keep=False):
        tokens = slice(rows.start // copies, rows.stop // copies)
        gold = target[tokens, None, None].expand(-1, copies, 1)
        predicted, log_normaliser[tokens] = _predictions(
            some.view(-1, copies, vocabulary), target[tokens]
        )
        nll[tokens] = predicted.log_probs.gather(2, gold).squeeze(2).neg_()
        value, change = DIVERGENCES[divergence](predicted)
        apart += value.sum()
        if wants_gradient:
            change = predicted.probs[:, own].add(change[:, own], alpha=copies * coefficient)
            at_gold = change.new_full((), -on_target).expand_as(gold[:, own])
            change.scatter_add_(2, gold[:, own], at_gold)
            done = slice(tokens.start * len(active), tokens.stop * len(active))
            delta.write(done, change.flatten(0, 1))
    return delta


def _predictions(logits: Tensor, target: Tensor) -> tuple[Predictions, Tensor]:
    """Return what (C, M, V) logits predict, and the logarithms of their normalisers (C, M)."""
    largest = logits.amax(dim=2, keepdim=True)
    log_probs = logits - largest
    probs = log_probs.exp()
    normaliser = probs.sum(dim=2, keepdim=True)
    log_probs.sub_(normaliser.log())  # after the largest: what is left is small, and exact
    predicted = Predictions(logits, log_probs, probs.div_(normaliser), target)
    return predicted, (normaliser.log() + largest).squeeze(2)
