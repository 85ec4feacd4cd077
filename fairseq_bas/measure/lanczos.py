"""Eigenvalues of a symmetric matrix that is only known by its products with vectors.

Lanczos (1950): from q[1] of norm 1, with b[0] = 0,

    A q[j] = b[j-1] q[j-1] + a[j] q[j] + b[j] q[j+1]

The tridiagonal matrix T of the a and b is A seen from the space spanned by q[1..m]: its extreme
eigenvalues come close to those of A long before m is n.

Products take a vector (n,) of float64, and return one of any floating type and device. Recurrences
are in float64, however rounded the products are.

Shapes: n rows of the matrix, m steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""v (n,) -> A v (n,)."""

_BLOCK = 1 << 22  # numbers of the basis that are made float64 at a time
_BREAKDOWN = 1e-10  # of the largest entry of T: what remains of a vector is rounding


@dataclass(frozen=True)
class Tridiagonal:
    """Hold what Lanczos makes of a matrix.

    Attributes:
        alpha: (m,) float64, the diagonal a.
        beta: (m - 1,) float64, the diagonals beside it, b.
        rest: b[m], what links T to the space that was not reached; 0 if there is none.
    """

    alpha: Tensor
    beta: Tensor
    rest: float

    def matrix(self) -> Tensor:
        """Return T, (m, m)."""
        return self.alpha.diag() + self.beta.diag(1) + self.beta.diag(-1)

    def nodes_and_weights(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues of T (m,), rising, and the squared first entries of its eigenvectors.

        They are the nodes and weights of Gaussian quadrature: for a polynomial p of degree up to
        2m - 1, sum of weight * p(node) = q[1]^T p(A) q[1] (Golub and Meurant 1994).
        """
        nodes, vectors = torch.linalg.eigh(self.matrix())
        return nodes, vectors[0].square()


def lanczos(product: Product, start: Tensor, steps: int) -> Tridiagonal:
    """Run Lanczos with full re-orthogonalisation.

    The m vectors are kept: in the type of ``start``, on its device if they fit, else on the CPU.

    Args:
        product: v -> A v, for a symmetric A (n, n).
        start: (n,) floating point, not zero.
        steps: m >= 1; there are fewer if the space that ``start`` reaches is smaller.

    Raises:
        ValueError: if ``start`` is zero, ``steps`` is not positive or a product is not finite.

    >>> diagonal = torch.tensor([1.0, 2.0, 4.0]).double()
    >>> lanczos(lambda v: diagonal * v, torch.ones(3).double(), 9).nodes_and_weights()[0].round()
    tensor([1., 2., 4.], dtype=torch.float64)
    """
    _check(start, steps)
    steps = min(steps, start.numel())
    basis = _empty_basis(start, steps)
    alpha: list[float] = []
    beta: list[float] = []
    current, rest = _normed(start), 0.0
    for step in range(steps):
        basis[step] = current
        image = multiplied(product, current)
        alpha.append(float(image @ current))
        for _ in range(2):  # once leaves what rounding of large components adds
            _subtract_projection(image, basis[: step + 1])
        rest = float(image.norm())
        if rest <= _BREAKDOWN * max(map(abs, alpha + beta)):
            rest = 0.0
            break
        current = image / rest
        beta.append(rest)
    return _tridiagonal(alpha, beta, rest)


def largest_eigenvalue(
    product: Product,
    n: int,
    generator: torch.Generator,
    steps: int = 20,
    tolerance: float = 1e-2,
    device: torch.device | None = None,
) -> tuple[float, int]:
    """Estimate the largest eigenvalue (not the largest absolute value) by a short Lanczos run.

    Without re-orthogonalisation: three vectors of float64 are kept, and copies of an eigenvalue
    that rounding may add leave the largest as it is. The estimate is from below.

    Args:
        product: v -> A v, for a symmetric A (n, n).
        n: rows of A.
        generator: draws the start.
        steps: most products, >= 1.
        tolerance: stop when a step changes the estimate by less than this share of it.
        device: where the vectors are; that of the generator if None.

    Returns:
        The estimate, and the products it took.

    Raises:
        ValueError: if ``steps`` is not positive or a product is not finite.

    >>> diagonal = torch.linspace(-9, 4, 50).double()
    >>> value, steps = largest_eigenvalue(
    ...     lambda v: diagonal * v, 50, torch.Generator().manual_seed(1), tolerance=1e-3
    ... )
    >>> abs(value - 4) < 0.02, steps <= 20
    (True, True)
    """
    start = gaussian(n, generator).to(device or generator.device)
    _check(start, steps)
    current, before, rest = _normed(start), torch.zeros_like(start), 0.0
    alpha: list[float] = []
    beta: list[float] = []
    value = np.nan
    for _ in range(min(steps, n)):
        image = multiplied(product, current).sub_(before, alpha=rest)
        alpha.append(float(image @ current))
        image.sub_(current, alpha=alpha[-1])
        last = value
        value = float(torch.linalg.eigvalsh(_tridiagonal(alpha, beta, 0.0).matrix())[-1])
        rest = float(image.norm())
        is_exhausted = rest <= _BREAKDOWN * max(map(abs, alpha + beta))
        if is_exhausted or abs(value - last) < tolerance * abs(value):
            break
        beta.append(rest)
        before, current = current, image / rest
    return value, len(alpha)


def gaussian(n: int, generator: torch.Generator) -> Tensor:
    """Draw (n,) from N(0, 1), float64, on the device of the generator."""
    return torch.randn(n, generator=generator, dtype=torch.float64, device=generator.device)


def multiplied(product: Product, vector: Tensor) -> Tensor:
    """Return A v, (n,), as a vector of its own, float64 on the device of ``vector``.

    Args:
        product: v -> A v.
        vector: (n,) float64.

    Raises:
        ValueError: if it is not finite.
    """
    image = product(vector).to(vector.device, torch.float64, copy=True)
    if not bool(image.isfinite().all()):
        raise ValueError(
            "a product with the Hessian is not finite; the model's weights or its loss overflow"
        )
    return image


def _check(start: Tensor, steps: int) -> None:
    if steps < 1:
        raise ValueError(f"{steps} steps find no eigenvalue; pass 1 or more")
    if not float(start.norm()) > 0:
        raise ValueError("Lanczos cannot start from a vector without direction; give another")


def _normed(vector: Tensor) -> Tensor:
    wide = vector.double()
    return wide / wide.norm()


def _tridiagonal(alpha: list[float], beta: list[float], rest: float) -> Tridiagonal:
    wide = torch.float64
    return Tridiagonal(
        torch.tensor(alpha, dtype=wide), torch.tensor(beta[: len(alpha) - 1], dtype=wide), rest
    )


def _empty_basis(start: Tensor, steps: int) -> Tensor:
    """Return room for the basis, (m, n): on a GPU only if that leaves half of the free memory."""
    place = start.device
    if start.is_cuda:
        free, _ = torch.cuda.mem_get_info(place)
        if steps * start.numel() * start.element_size() > free / 2:
            place = torch.device("cpu")
    return torch.empty(steps, start.numel(), dtype=start.dtype, device=place)


def _subtract_projection(vector: Tensor, basis: Tensor) -> None:
    """Subtract from a vector (n,), in place, what lies in the span of the rows of ``basis``."""
    rows = max(1, _BLOCK // vector.numel())
    for block in basis.split(rows):
        wide = block.to(vector)  # a few rows: the whole basis may be too large for it
        vector.sub_(wide.t() @ (wide @ vector))
