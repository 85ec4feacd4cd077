"""The spaces in which sharpness is sought: all parameters, or the span of random columns.

Shapes: n parameters, p coordinates. A point of the space with coordinates z is x + A z; A is the
n x p matrix of the space and is never held as a whole where it is large.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

COLUMNS = ("normal", "unit")
_BLOCK_ELEMENTS = 1 << 22
"""Elements of A that are made at once. It decides which numbers A holds, so it is no option."""

_COLUMN_STREAM = 0x636F6C  # keeps these draws apart from others that use the same seed


class Space(Protocol):
    """A linear map from p coordinates to n parameters.

    Attributes:
        dimension: p.
        columns: how the columns of A are made: ``identity``, ``normal`` or ``unit``.
    """

    dimension: int
    columns: str

    def coordinates(self, point: Tensor) -> np.ndarray:
        """Return A^+ x, (p,) float64, the coordinates nearest to a point (n,)."""

    def displacement(self, coordinates: np.ndarray) -> Tensor:
        """Return A z, (n,), for coordinates z (p,)."""

    def pull_back(self, gradient: Tensor) -> np.ndarray:
        """Return A^T g, (p,) float64: the gradient in z of a function with gradient g (n,)."""


class FullSpace:
    """The space of all parameters, A = I.

    Args:
        like: (n,) a vector with the dtype and device that displacements shall have.

    >>> FullSpace(torch.zeros(3)).displacement(np.array([1.0, 2.0, 3.0]))
    tensor([1., 2., 3.])
    """

    columns = "identity"

    def __init__(self, like: Tensor):
        self.dimension = like.numel()
        self._like = like

    def coordinates(self, point: Tensor) -> np.ndarray:
        """Return the point itself, (n,) float64."""
        return _array(point)

    def displacement(self, coordinates: np.ndarray) -> Tensor:
        """Return the coordinates as a vector (n,)."""
        return torch.from_numpy(coordinates).to(self._like)

    def pull_back(self, gradient: Tensor) -> np.ndarray:
        """Return the gradient itself, (n,) float64."""
        return _array(gradient)


class RandomSubspace:
    """The span of p random columns, made in blocks of rows from seeds wherever they are needed.

    Every block of rows has a seed of its own, so A is the same whether or not its blocks are kept,
    and in every dtype; the CPU and CUDA draw different numbers. Keskar et al. do not say how their
    columns are scaled, which decides the value of the sharpness by orders of magnitude.

    Args:
        like: (n,) a vector with the dtype and device of the parameters.
        dimension: p, in [1, n].
        columns: ``normal``: elements from N(0, 1), so columns of length about sqrt(n); ``unit``:
            the same columns scaled to length 1.
        seed: >= 0.
        max_bytes: A is kept where it needs no more memory than this; else it is drawn again for
            every product.

    Raises:
        ValueError: if p or the kind of columns has no meaning.

    >>> space = RandomSubspace(torch.zeros(50), 4, "unit", seed=1)
    >>> z = np.array([1.0, -2.0, 3.0, 0.5])
    >>> bool(np.allclose(space.coordinates(space.displacement(z)), z, atol=1e-5))
    True
    """

    def __init__(
        self,
        like: Tensor,
        dimension: int = 100,
        columns: str = "normal",
        seed: int = 1,
        max_bytes: int = 1 << 30,
    ):
        if not 1 <= dimension <= like.numel():
            raise ValueError(
                f"a subspace of {dimension} dimensions does not fit a model of {like.numel()} "
                "parameters; pass from 1 to that many"
            )
        if columns not in COLUMNS:
            raise ValueError(f"columns {columns!r} are not known; pass one of {', '.join(COLUMNS)}")
        self.dimension, self.columns, self.seed = dimension, columns, seed
        self._like = like
        self._rows = max(1, _BLOCK_ELEMENTS // dimension)
        keep = like.numel() * dimension * like.element_size() <= max_bytes
        self._kept = list(self._drawn()) if keep else None
        gram = sum(_array(block.double().T @ block.double()) for block in self._blocks())
        lengths = np.sqrt(np.diagonal(gram))
        self._scale = 1 / lengths if columns == "unit" else np.ones(dimension)
        self._gram = gram * np.outer(self._scale, self._scale)

    def coordinates(self, point: Tensor) -> np.ndarray:
        """Return A^+ x = (A^T A)^-1 A^T x, (p,) float64; the p x p matrix A^T A is exact."""
        return np.linalg.solve(self._gram, self.pull_back(point))

    def displacement(self, coordinates: np.ndarray) -> Tensor:
        """Return A z, (n,) in the dtype of the parameters."""
        scaled = torch.from_numpy(coordinates * self._scale).to(self._like)
        return torch.cat([block @ scaled for block in self._blocks()])

    def pull_back(self, gradient: Tensor) -> np.ndarray:
        """Return A^T g, (p,) float64, summed over blocks in float64."""
        parts = gradient.split(self._rows)
        products = zip(self._blocks(), parts, strict=True)
        return self._scale * sum(_array(block.T @ part.to(block)) for block, part in products)

    def _blocks(self) -> Iterator[Tensor]:
        """Yield the unscaled A, block by block of (rows, p)."""
        return iter(self._kept) if self._kept is not None else self._drawn()

    def _drawn(self) -> Iterator[Tensor]:
        generator = torch.Generator(self._like.device)
        size = self._like.numel()
        for number, start in enumerate(range(0, size, self._rows)):
            words = np.random.SeedSequence([self.seed, _COLUMN_STREAM, number]).generate_state(2)
            generator.manual_seed(int(words[0]) << 31 ^ int(words[1]))
            shape = (min(self._rows, size - start), self.dimension)
            # Always float32, so that a float64 copy of a model is measured in the same subspace.
            block = torch.randn(shape, generator=generator, device=self._like.device)
            yield block.to(self._like.dtype)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float64).numpy()
