"""Noise of embeddings: cutoff of tokens, features and spans, jitter, and mixing of sentences.

Shapes: R rows, T tokens, H hidden.
"""

import math
from functools import cache

import torch
from torch import Tensor

from .keyed import GOLDEN_GAMMA, bits, mix, uniform

TABLE_SIZE = 4096
"""Points at which the distribution of mixing weights is tabulated."""


def token_cutoff(embedding: Tensor, hidden: Tensor) -> Tensor:
    """Set the embeddings of hidden tokens to zero (Shen et al. 2020; Gao et al. 2022).

    Args:
        embedding: (R, T, H).
        hidden: (R, T) bool.

    Returns:
        (R, T, H).
    """
    return embedding.masked_fill(hidden[..., None], 0.0)


def feature_cutoff(embedding: Tensor, keys: Tensor, rate: Tensor) -> Tensor:
    """Set some dimensions to zero in all tokens of a row, without rescaling (Shen et al. 2020).

    Args:
        embedding: (R, T, H).
        keys: (R,) int64.
        rate: (R,) float64 in [0, 1], probability of each dimension.

    Returns:
        (R, T, H).
    """
    hidden = uniform(keys, "feature cutoff", embedding.size(2)) < rate[:, None]
    return embedding.masked_fill(hidden[:, None, :], 0.0)


def span_cutoff_mask(editable: Tensor, keys: Tensor, fraction: Tensor) -> Tensor:
    """Choose one span of round(fraction * L) of the L editable tokens of each row, at least one.

    Args:
        editable: (R, T) bool.
        keys: (R,) int64.
        fraction: (R,) float64 in [0, 1]; 0 chooses nothing.

    Returns:
        (R, T) bool; every start that fits is equally likely.
    """
    length = editable.sum(1)
    span = (fraction * length).round().clamp(min=1.0)
    span = torch.minimum(span, length.double()).masked_fill(fraction <= 0, 0.0)
    draw = uniform(keys, "span cutoff", 1)[:, 0]
    start = (draw * (length - span + 1)).floor()
    place = editable.cumsum(1) - 1
    inside = (place >= start[:, None]) & (place < (start + span)[:, None])
    return editable & inside


def jitter(embedding: Tensor, position: Tensor, keys: Tensor, scale: Tensor) -> Tensor:
    """Add uniform noise of a standard deviation relative to the size of each embedding.

    e + scale * rms(e) * U(-sqrt(3), sqrt(3)) in every dimension, rms(e) without gradient.

    Args:
        embedding: (R, T, H).
        position: (R, T) int64, position of each token in its sentence.
        keys: (R,) int64.
        scale: (R,) float64 >= 0.

    Returns:
        (R, T, H).
    """
    hidden = embedding.size(2)
    count = -(-hidden // 4)
    token = mix(keys[:, None] ^ mix((position + 1) * GOLDEN_GAMMA))
    words = bits(token.flatten(), "jitter", count)
    # Four numbers of 16 bits from each hash, in [-1, 1] around 0.
    draws = words.view(torch.int16).view(*position.shape, 4 * count)[..., :hidden]
    # Half precision would round the draws, and not evenly around 0.
    wide = torch.promote_types(embedding.dtype, torch.float32)
    noise = (draws.to(wide) + 0.5) * (math.sqrt(3.0) / 2**15)
    norm = torch.linalg.vector_norm(embedding.detach(), dim=2, keepdim=True, dtype=wide)
    noise *= norm * (scale.to(wide) / math.sqrt(hidden))[:, None, None]
    return embedding + noise.to(embedding.dtype)


def mix_weight(keys: Tensor, alpha: float) -> Tensor:
    """Draw the share of a sentence in a mixture: max(b, 1 - b) of b ~ Beta(alpha, alpha).

    Args:
        keys: (R,) int64.
        alpha: parameter of the distribution, > 0; smaller mixes less.

    Returns:
        (R,) float64 in [1/2, 1]; quantiles tabulated at 4096 points and linear in between, so that
        no probability is off by more than 1 / 4095.
    """
    table = _beta_quantiles(alpha).to(keys.device)
    place = uniform(keys, "mix", 1)[:, 0] * (len(table) - 1)
    low = place.floor().long()
    return torch.lerp(table[low], table[low + 1], place - low)


@cache
def _beta_quantiles(alpha: float) -> Tensor:
    """Return the quantiles of Beta(alpha, alpha) from 1/2 on; the lower half mirrors them."""
    from scipy.stats import beta

    quantiles = beta.ppf(torch.linspace(0.5, 1.0, TABLE_SIZE, dtype=torch.float64), alpha, alpha)
    return torch.from_numpy(quantiles)


def mix_with_partner(embedding: Tensor, partner: Tensor, weight: Tensor, padding: Tensor) -> Tensor:
    """Interpolate each row with another one (Guo et al. 2020, SeqMix).

    weight * e + (1 - weight) * e[partner], column by column, so sentences are aligned at their ends
    where padding is on the left; where either has padding, the row's own embedding.

    Args:
        embedding: (R, T, H).
        partner: (R,) int64, row numbers.
        weight: (R,) float in [0, 1].
        padding: (R, T) bool.

    Returns:
        (R, T, H).
    """
    share = weight.to(embedding.dtype)[:, None].expand(padding.shape)
    share = share.masked_fill(padding[partner] | padding, 1.0)[..., None]
    return share * embedding + (1 - share) * embedding[partner]
