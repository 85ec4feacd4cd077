"""How many copies of a sentence are really different.

Short sentences under weak noise often come out unchanged; copies that are equal add nothing but
their dropout.

Shapes: R rows, T tokens, B sentences, M copies.
"""

import torch
from torch import Tensor

from .keyed import GOLDEN_GAMMA, mix
from .words import positions


def fingerprints(tokens: Tensor, padding: int) -> Tensor:
    """Hash each row so that rows with the same tokens, and only those, agree (up to 2**-64).

    Args:
        tokens: (R, T) int64, padded on either side; padding does not count.
        padding: id of the padding symbol.

    Returns:
        (R,) int64.

    >>> rows = fingerprints(torch.tensor([[0, 5, 6], [5, 6, 0], [6, 5, 0]]), padding=0)
    >>> (rows[0] == rows[1]).item(), (rows[0] == rows[2]).item()
    (True, False)
    """
    is_padding = tokens.eq(padding)
    place = positions(is_padding) + 1
    return mix(mix(tokens + 1) + place * GOLDEN_GAMMA).masked_fill(is_padding, 0).sum(1)


def count_distinct(fingerprint: Tensor) -> Tensor:
    """Count the different values in each row.

    Args:
        fingerprint: (B, M) int64.

    Returns:
        (B,) int64 in [1, M].

    >>> count_distinct(torch.tensor([[7, 7, 7], [1, 2, 1]])).tolist()
    [1, 2]
    """
    same = fingerprint[:, :, None] == fingerprint[:, None, :]
    seen_before = torch.tril(same, diagonal=-1).any(dim=2)
    return (~seen_before).sum(1)
