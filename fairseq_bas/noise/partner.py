"""Which sentence each row is mixed with.

Shapes: R rows, B sentences.
"""

import torch
from torch import Tensor

from .keyed import RowKeys, uniform


def partners(keys: RowKeys, rows_per_sentence: int) -> Tensor:
    """Give every row the same replica of another sentence of its micro-batch.

    The sentences of a replica form a ring in random order, and each is mixed with the next one. So
    no sentence is its own partner, unless it is alone, and placement does not matter.

    Args:
        keys: the rows' keys; each replica has as many rows as any other.
        rows_per_sentence: replicas in the pass.

    Returns:
        (R,) int64, row numbers.

    >>> rows = torch.arange(6)
    >>> keys = RowKeys(rows * 7919, rows, torch.tensor([0, 1, 0, 1, 0, 1]))
    >>> sorted(partners(keys, 2).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    ring = (keys.replica + uniform(keys.copy, "partner", 1)[:, 0]).argsort()
    ring = ring.view(rows_per_sentence, -1)
    following = ring.roll(-1, dims=1)
    return torch.empty_like(keys.replica).scatter_(0, ring.flatten(), following.flatten())
