"""The sum over chunks of delta.T @ features, the gradient of an output layer's weight.

oneDNN takes the second factor of a product as it lies, also transposed, but copies the first where
it is not dense. The large factor is delta, so on a CPU the sum is kept transposed, a block of the
vocabulary at a time, and turned at the end.

Shapes: R rows of a chunk, H hidden, V vocabulary, B columns of a block.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .fast_product import multiplies_by_onednn, product
from .wide_product import add_product_, wide_type


class WeightSum:
    """Add up delta.T @ features over chunks.

    Args:
        weight: (V, H), whose gradient this is.
        columns: the blocks of the vocabulary.

    >>> total = WeightSum(torch.zeros(2, 1), [slice(0, 1), slice(1, 2)])
    >>> features = total.left(torch.tensor([[3.0]]))
    >>> total.add(1, features, torch.tensor([[5.0]]))
    >>> total.finish().tolist()
    [[0.0], [15.0]]
    """

    def __init__(self, weight: Tensor, columns: Sequence[slice]) -> None:
        self._weight, self._columns = weight, columns
        self._is_turned = multiplies_by_onednn(weight)
        wide, (vocabulary, hidden) = wide_type(weight.dtype), weight.shape
        if self._is_turned:
            sizes = [(hidden, part.stop - part.start) for part in columns]
            self._blocks = [weight.new_zeros(size) for size in sizes]
        else:
            self._total = weight.new_zeros(vocabulary, hidden, dtype=wide)

    def left(self, features: Tensor) -> Tensor:
        """Return the features (R, H) of a chunk as `add` wants them."""
        return features.t().contiguous() if self._is_turned else features

    def add(self, number: int, features: Tensor, delta: Tensor) -> None:
        """Add delta.T @ features to a block.

        Args:
            number: of the block.
            features: what `left` returned.
            delta: (R, B), dense.
        """
        if self._is_turned:
            self._blocks[number].add_(product(features, delta))
        else:
            add_product_(self._total[self._columns[number]], delta.t(), features)

    def finish(self) -> Tensor:
        """Return the sum (V, H), at least float32; nothing can be added after."""
        if not self._is_turned:
            return self._total
        total = torch.empty_like(self._weight, memory_format=torch.contiguous_format)
        for part in reversed(self._columns):
            total[part] = self._blocks.pop().t()
        return total
