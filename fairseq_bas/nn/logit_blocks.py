"""The logits of a chunk of tokens, laid out so that matrix products and sums run at full speed.

On a CPU, oneDNN multiplies at full speed what is dense, and the passes of a softmax cost little
where they stay in cache. So a chunk's logits lie in dense blocks of columns, and what needs whole
rows gets a few of them at a time, copied together and back. Elsewhere there is one block, and all
of its rows are worked on at once.

Shapes: R rows of a chunk, r rows worked on at a time, H hidden, V vocabulary, B columns of a block.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .fast_product import product
from .wide_product import wide_product, wide_type

BLOCK_COLUMNS = 4096
"""Widest block on a CPU: its share of the weight and of the logits lies in the last cache."""
CACHE_ELEMENTS = 2**18
"""Elements of the rows worked on at a time on a CPU: about what the second cache holds."""
ELEMENTS_ELSEWHERE = 2**24


def vocabulary_blocks(vocabulary: int, device_type: str = "cpu") -> list[slice]:
    """Return the columns of each block: nearly equal ones on a CPU, all in one elsewhere.

    Args:
        vocabulary: V, >= 1.
        device_type: ``torch.device.type``.

    >>> vocabulary_blocks(10_000)
    [slice(0, 3334, None), slice(3334, 6668, None), slice(6668, 10000, None)]
    """
    count = -(-vocabulary // BLOCK_COLUMNS) if device_type == "cpu" else 1
    width = -(-vocabulary // count)
    return [slice(a, min(a + width, vocabulary)) for a in range(0, vocabulary, width)]


class LogitBlocks:
    """Hold the logits of a chunk, which may become their own gradients in place.

    Args:
        features: (R, H).
        weight: (V, H).
        bias: (V,) or None.
        columns: those of each block, as `vocabulary_blocks` gives them.

    >>> logits = LogitBlocks(torch.ones(2, 1), torch.tensor([[3.0], [4.0]]), None, [slice(0, 2)])
    >>> [rows.tolist() for _, rows in logits.rows(1)]
    [[[3.0, 4.0], [3.0, 4.0]]]
    """

    def __init__(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, columns: Sequence[slice]
    ) -> None:
        self.columns = columns
        self.blocks: list[Tensor] = [
            _logits(features, weight[part], None if bias is None else bias[part])
            for part in columns
        ]

    def rows(self, group: int, keep: bool = True) -> Iterator[tuple[slice, Tensor]]:
        """Yield whole rows, a few at a time; what the caller makes of them in place stays.

        Args:
            group: only multiples of so many rows, which divide R, are kept together.
            keep: False: the caller wants nothing back, and what the blocks then hold is undefined.

        Yields:
            Which rows, and they themselves (r, V).
        """
        size, vocabulary = self.blocks[0].size(0), self.columns[-1].stop
        elements = CACHE_ELEMENTS if self.blocks[0].is_cpu else ELEMENTS_ELSEWHERE
        step = max(1, elements // (vocabulary * group)) * group
        for start in range(0, size, step):
            rows = slice(start, min(start + step, size))
            if len(self.blocks) == 1:
                yield rows, self.blocks[0][rows]
                continue
            whole = torch.cat([block[rows] for block in self.blocks], dim=1)
            yield rows, whole
            if keep:
                self.write(rows, whole)

    def with_rows(self, size: int) -> "LogitBlocks":
        """Return blocks of so many rows, of the same columns, for the caller to write to."""
        other = copy.copy(self)
        other.blocks = [block.new_empty(size, block.size(1)) for block in self.blocks]
        return other

    def write(self, rows: slice, whole: Tensor) -> None:
        """Put (r, V) in the place of rows."""
        for block, part in zip(self.blocks, self.columns, strict=True):
            block[rows] = whole[:, part]


def _logits(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return features @ weight.T + bias (R, B), at least float32."""
    if features.dtype == wide_type(features.dtype):
        return product(features, weight.t(), bias)
    logits = wide_product(features, weight.t())
    return logits if bias is None else logits.add_(bias)
