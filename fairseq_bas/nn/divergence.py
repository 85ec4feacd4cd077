"""How far apart the predictions of the copies of a token are, with gradients by hand.

Each divergence costs O(M V) a token, never O(M^2 V). The gradients are those with respect to the
logits, so that a loss can add them up chunk by chunk in its forward pass. One copy is no distance
from itself: for M = 1 all are 0.

Shapes: C tokens, M copies of each, V vocabulary. p_i is the softmax of copy i, z_i its logits.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Predictions(NamedTuple):
    """Hold what the copies predict.

    Args:
        logits: (C, M, V), up to a constant for each copy (``l2`` wants them as they are).
        log_probs: (C, M, V), their log-softmax.
        probs: (C, M, V), their softmax.
        target: (C,) int64, the label that all copies of a token share.
    """

    logits: Tensor
    log_probs: Tensor
    probs: Tensor
    target: Tensor


Divergence = Callable[[Predictions], tuple[Tensor, Tensor]]
"""Takes predictions; returns the divergence D (C,) and d D / d logits (C, M, V)."""


def _zero_for_one_copy(divergence: Divergence) -> Divergence:
    """Let a divergence, which may divide by M - 1, return zeros for M = 1."""

    @functools.wraps(divergence)
    def wrapper(predictions: Predictions) -> tuple[Tensor, Tensor]:
        probs = predictions.probs
        if probs.size(1) == 1:
            return probs.new_zeros(probs.size(0)), torch.zeros_like(probs)
        return divergence(predictions)

    return wrapper


@_zero_for_one_copy
def rdrop(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Return the mean over ordered pairs i != j of KL(p_i || p_j).

    1 / (M (M - 1)) [M sum_i sum_v p_i log p_i - sum_v (sum_i p_i) (sum_j log p_j)]; for M = 2 that
    is R-Drop's (KL(p||q) + KL(q||p)) / 2 (Liang et al. 2021, equation 2).
    """
    _, log_probs, probs, _ = predictions
    copies = probs.size(1)
    share = 1 / (copies * (copies - 1))
    # p_i sum_j (log p_i - log p_j): summed over v, what copy i gives to D.
    change = torch.mul(log_probs, copies * share)
    change.sub_(log_probs.sum(1, keepdim=True), alpha=share).mul_(probs)
    given = change.sum(2, keepdim=True)
    change.addcmul_(probs, copies * share - given)
    return given.sum((1, 2)), change.sub_(probs.sum(1, keepdim=True), alpha=share)


@_zero_for_one_copy
def jensen_shannon(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Return H(mean of p_i) - mean of H(p_i)."""
    _, log_probs, probs, _ = predictions
    log_mean = probs.mean(1, keepdim=True).clamp(min=torch.finfo(probs.dtype).tiny).log()
    weighted = probs * (log_probs - log_mean) / probs.size(1)
    return weighted.sum((1, 2)), _to_logits(weighted, probs)


@_zero_for_one_copy
def from_clean(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Return the mean over the noisy copies i >= 1 of KL(p_0 || p_i), copy 0 being the clean one.

    The gradient flows into both sides (Gao et al. 2022, SimCut).
    """
    _, log_probs, probs, _ = predictions
    clean, noisy = probs[:, :1], probs.size(1) - 1
    gap = log_probs[:, 0] - log_probs[:, 1:].mean(1)
    value = (probs[:, 0] * gap).sum(1)
    free = (-clean / noisy).expand_as(probs).clone()
    free[:, 0] = probs[:, 0] * (gap + 1)
    return value, _to_logits(free, probs)


@_zero_for_one_copy
def from_mean_logits(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Return the mean of KL(m || p_i), m the softmax of the mean logits (Shen et al. 2020, Cutoff).

    It equals -log sum_v exp(mean_i log p_i).
    """
    _, log_probs, probs, _ = predictions
    mean = log_probs.mean(1)
    log_total = mean.logsumexp(1)
    free = (mean - log_total[:, None]).exp()[:, None] / -probs.size(1)
    return -log_total, _to_logits(free.expand_as(probs), probs)


@_zero_for_one_copy
def between_logits(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Return the mean over pairs and over the vocabulary of (z_i - z_j)^2.

    2 / (M - 1) sum_i (z_i - mean z)^2 (Zolna et al. 2018, fraternal dropout).
    """
    logits = predictions.logits
    scale = 2 / ((logits.size(1) - 1) * logits.size(2))
    centred = logits - logits.mean(1, keepdim=True)
    return scale * centred.pow(2).sum((1, 2)), centred.mul_(2 * scale)


@_zero_for_one_copy
def log_mean_exp(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Return -log(mean of p_i(y)) + mean of log p_i(y), which is at most 0.

    Added once to the mean negative log-likelihood it gives the importance-weighted loss
    -log(mean of p_i(y)) (Melis et al. 2018), which listens less to copies that noise has ruined.
    """
    _, log_probs, probs, target = predictions
    copies = probs.size(1)
    index = target[:, None, None].expand(-1, copies, 1)
    at_target = log_probs.gather(2, index).squeeze(2)
    value = at_target.mean(1) + math.log(copies) - at_target.logsumexp(1)
    free = torch.zeros_like(probs)
    free.scatter_(2, index, (1 / copies - at_target.softmax(1))[..., None])
    return value, _to_logits(free, probs)


DIVERGENCES: dict[str, Divergence] = {
    "rdrop": rdrop,
    "jsd": jensen_shannon,
    "clean": from_clean,
    "mean-logits": from_mean_logits,
    "l2": between_logits,
    "log-mean-exp": log_mean_exp,
}


def _to_logits(free: Tensor, probs: Tensor) -> Tensor:
    """Turn d D / d log p, log p taken as free, into d D / d z: free_i - p_i sum_v free_i."""
    return free - probs * free.sum(2, keepdim=True)
