"""The loss of fairseq's adaptive softmax, token by token."""

import torch
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor
from torch.nn import functional


def adaptive_nll(
    softmax: AdaptiveSoftmax, features: Tensor, target: Tensor, padding_idx: int
) -> Tensor:
    """Compute negative log-likelihoods with only those clusters that the targets are in.

    Args:
        softmax: the output layer.
        features: (N, H).
        target: (N,) int64.
        padding_idx: the target whose loss is zero.

    Returns:
        (N,) float32, in nats. Gradients reach every cluster, zero where there was no target, as
        data-parallel wrappers expect.
    """
    logits, targets = softmax(features, target)
    _, places = softmax.adapt_target(target)
    nll = functional.cross_entropy(
        logits[0].float(), targets[0], ignore_index=padding_idx, reduction="none"
    )
    for tail, place in enumerate(places):
        if place is None:
            unused = sum(parameter.sum() for parameter in softmax.tail[tail].parameters())
            nll = nll + 0 * unused
            continue
        inside = functional.cross_entropy(
            logits[tail + 1].float(), targets[tail + 1], reduction="none"
        )
        nll = torch.index_add(nll, 0, place, inside)
    return nll
