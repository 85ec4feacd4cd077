"""Perturb the embeddings of sentences in the direction in which their loss grows.

One convention for both norms: the size of a perturbation is the root mean square, over the words of
a row, of the lengths of the vectors that are added, relative to that of the embeddings themselves.
So it does not depend on the model's width, on how embeddings are scaled or on sentence length, and
``l2`` and ``sign`` of the same size add vectors of the same lengths, on average.

``l2`` bounds the perturbation of a whole row, so that the words that matter most may move most
(Miyato et al. 2017; Sato et al. 2019; Zhu et al. 2020, FreeLB); ``sign`` bounds every component
(Goodfellow et al. 2015; Madry et al. 2018).

Nothing is added to padding, nor to a row whose gradient is zero or not finite. Lengths are computed
in float32 at least.

Shapes: R rows, T tokens, H hidden, M replicas.
"""

import math

import torch
from torch import Tensor

from .keyed import RowKeys, uniform

NORMS = ("l2", "sign")


def adversarial_copies(share: float, num_replicas: int) -> tuple[int, int]:
    """Return the least and the greatest number of adversarial copies that a sentence can have.

    >>> adversarial_copies(0.5, 4), adversarial_copies(0.3, 4), adversarial_copies(0.5, 1)
    ((2, 2), (1, 2), (0, 1))
    """
    expected = round(share * num_replicas, 9)  # 0.7 * 10 is a little more than 7
    return math.floor(expected), math.ceil(expected)


def adversarial_rows(keys: RowKeys, share: float, num_replicas: int) -> Tensor:
    """Choose the copies that are adversarial: the last ones of each sentence.

    Copy m is, where m >= M - floor(share * M + u), with one u ~ U(0, 1) for each sentence and
    update; so the share holds in expectation for every M, for M = 1 too.

    Args:
        keys: of the R rows.
        share: of the copies, in [0, 1].
        num_replicas: M.

    Returns:
        (R,) bool.
    """
    least, greatest = adversarial_copies(share, num_replicas)
    rest = share * num_replicas - least if greatest > least else 0.0
    one_more = uniform(keys.sentence, "adversarial", 1)[:, 0] >= 1 - rest
    return keys.replica >= num_replicas - least - one_more.long()


def ascend(
    start: Tensor | None,
    gradient: Tensor,
    embedding: Tensor,
    padding: Tensor,
    size: Tensor,
    step: float,
    norm: str,
) -> Tensor:
    """Take one step of ascent on the loss, and go back to the ball if it leads out of it.

    project(start + step * s * direction(gradient)), with s the size of the row's embeddings.

    Args:
        start: (R, T, H), the perturbation that ``gradient`` was taken at; None for zero.
        gradient: (R, T, H), of the loss by the embeddings, times any positive number.
        embedding: (R, T, H), what the perturbation is to be added to.
        padding: (R, T) bool.
        size: (R,) float >= 0, the bound; a row of size 0 is not perturbed.
        step: length of the step, in the same unit, > 0.
        norm: of `NORMS`.

    Returns:
        (R, T, H), the perturbation, float32 at least.

    >>> e, g = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 7.0]]])
    >>> size, padding = torch.tensor([0.1]), torch.tensor([[False]])
    >>> ascend(None, g, e, padding, size, 0.1, "l2").tolist()
    [[[0.0, 0.5]]]
    """
    unit = row_size(embedding, padding)
    radius = size.to(unit) * unit
    moved = direction(gradient, padding, norm) * (unit * step)[:, None, None]
    if start is not None:
        moved += start
    return project(moved, padding, radius, norm)


def row_size(embedding: Tensor, padding: Tensor) -> Tensor:
    """Return sqrt(sum_t |e_t|^2 / L) over the L words of each row, (R,), float32 at least.

    Args:
        embedding: (R, T, H).
        padding: (R, T) bool.
    """
    lengths = torch.linalg.vector_norm(embedding, dim=2, dtype=_wide(embedding))
    total = torch.linalg.vector_norm(lengths.masked_fill(padding, 0.0), dim=1)
    return total / _root(padding, total.dtype)


def direction(gradient: Tensor, padding: Tensor, norm: str) -> Tensor:
    """Return the perturbation of size 1 that raises the loss most, to first order.

    ``l2``: g * sqrt(L) / |g|; ``sign``: sign(g) / sqrt(H), whose size is below 1 where components
    of the gradient are zero.

    Args:
        gradient: (R, T, H).
        padding: (R, T) bool.
        norm: of `NORMS`.

    Returns:
        (R, T, H), float32 at least, zero at padding.
    """
    wide = gradient.to(_wide(gradient)).masked_fill(padding[..., None], 0.0)
    length = torch.linalg.vector_norm(wide, dim=(1, 2))
    usable = length.isfinite() & (length > 0)
    # Zeros and not a product with 0, which would leave what is not finite.
    wide = wide.masked_fill(~usable[:, None, None], 0.0)
    if norm == "sign":
        return wide.sign() / math.sqrt(gradient.size(2))
    scale = _root(padding, wide.dtype) / length.masked_fill(~usable, 1.0)
    return wide * scale[:, None, None]


def project(perturbation: Tensor, padding: Tensor, radius: Tensor, norm: str) -> Tensor:
    """Return the nearest perturbation whose size is at most ``radius``.

    ``l2``: the whole row is scaled down; ``sign``: every component is clamped to
    radius / sqrt(H).

    Args:
        perturbation: (R, T, H), zero at padding.
        padding: (R, T) bool.
        radius: (R,) >= 0, absolute: sqrt(sum_t |r_t|^2 / L) of the largest that is allowed.
        norm: of `NORMS`.

    Returns:
        (R, T, H).
    """
    if norm == "sign":
        bound = (radius / math.sqrt(perturbation.size(2)))[:, None, None]
        return perturbation.clamp(-bound, bound)
    length = torch.linalg.vector_norm(perturbation, dim=(1, 2))
    length = length / _root(padding, length.dtype)
    scale = torch.where(length > radius, radius / length, 1.0)
    return perturbation * scale[:, None, None]


def _root(padding: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the square root of the number of words of each row, at least 1."""
    return (~padding).sum(1).clamp(min=1).to(dtype).sqrt()


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
