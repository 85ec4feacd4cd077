"""Eigenvalues at the ends of a spectrum, to a given residual, by scipy's restarted Lanczos.

Shapes: n rows of the matrix, k eigenvalues.
"""

from dataclasses import dataclass

import numpy as np
import torch

from .lanczos import Product, gaussian, multiplied


@dataclass(frozen=True)
class Eigenvalues:
    """Hold eigenvalues at one end of the spectrum.

    Attributes:
        values: the converged ones, outermost first.
        residuals: ||A v - value * v|| of each, for v of norm 1; an eigenvalue lies that near.
        products: how often A was multiplied.
        asked: k, how many were asked for.
    """

    values: list[float]
    residuals: list[float]
    products: int
    asked: int


def top_eigenvalues(
    product: Product,
    n: int,
    k: int,
    generator: torch.Generator,
    which: str = "LA",
    tolerance: float = 1e-3,
    max_products: int = 1000,
) -> Eigenvalues:
    """Find eigenvalues at one end of the spectrum by scipy's ARPACK (restarted Lanczos).

    scipy keeps about max(2k, 20) vectors of float64 in the memory of the CPU.

    Args:
        product: v -> A v, for a symmetric A (n, n).
        n: rows of A, more than k.
        k: how many, >= 1.
        generator: draws the start.
        which: ``LA`` for the largest, ``SA`` for the smallest (most negative).
        tolerance: residual to reach, as a share of the eigenvalue; its own error is less than that,
            as it goes with the square of the residual.
        max_products: about where to give up; what has converged until then is returned.

    Raises:
        ValueError: if k is out of range or a product is not finite.

    >>> diagonal = torch.arange(50).double()
    >>> found = top_eigenvalues(lambda v: diagonal * v, 50, 2, torch.Generator().manual_seed(1))
    >>> [round(value, 4) for value in found.values]
    [49.0, 48.0]
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    if not 1 <= k < n:
        raise ValueError(
            f"{k} eigenvalues of a model with {n} parameters cannot be found; ask for 1 to {n - 1}"
        )
    start = gaussian(n, generator).cpu()
    count = 0

    def multiply(vector: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        image: np.ndarray = multiplied(product, torch.from_numpy(vector.reshape(-1).copy())).numpy()
        return image

    size = min(n, max(2 * k + 1, 20))
    try:
        values, vectors = eigsh(
            LinearOperator((n, n), matvec=multiply, dtype=np.float64),
            k=k,
            which=which,
            v0=start.numpy(),
            ncv=size,
            tol=tolerance,
            maxiter=max(1, max_products // (size - k)),
        )
    except ArpackNoConvergence as error:
        values, vectors = error.eigenvalues, error.eigenvectors
    order = np.argsort(values)[:: -1 if which == "LA" else 1]
    residuals = [
        float(np.linalg.norm(multiply(vectors[:, place]) - values[place] * vectors[:, place]))
        for place in order
    ]
    return Eigenvalues([float(values[place]) for place in order], residuals, count, k)
