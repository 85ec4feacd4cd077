"""The trace and the density of the eigenvalues of a symmetric matrix, from random products.

For random v with E[v v^T] = I, E[v^T A v] = trace A. With entries of +-1 (Rademacher) the variance
is 2 * sum over i != j of A[i,j]^2, the least for independent entries (Hutchinson 1990).

Shapes: n rows of the matrix, N vectors, m Lanczos steps.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .lanczos import Product, lanczos

GRID = 2001
BANDWIDTH = 3e-3


@dataclass(frozen=True)
class TraceEstimate:
    """Hold an estimate of a trace.

    Attributes:
        mean: of the samples.
        standard_error: of the mean, from the spread of the samples; NaN with one sample.
        samples: v^T A v of each vector.
    """

    mean: float
    standard_error: float
    samples: list[float]


@dataclass(frozen=True)
class Density:
    """Hold a spectral density: the share of eigenvalues at each value.

    Attributes:
        nodes: where the quadrature puts eigenvalues, those of all vectors together.
        weights: the share of eigenvalues at each node; they add up to 1.
        grid: (G,) float64, values from below the least node to above the largest.
        values: (G,) density on the grid; by the trapezoidal rule it has mass 1.
        bandwidth: standard deviation of the Gaussian that each node was widened to.
    """

    nodes: Tensor
    weights: Tensor
    grid: Tensor
    values: Tensor
    bandwidth: float

    def moment(self, power: int) -> float:
        """Return the mean over eigenvalues of their power, by the nodes: trace(A^power) / n.

        >>> nodes, weights = torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5])
        >>> Density(nodes, weights, nodes, weights, 0.1).moment(2)
        5.0
        """
        return float((self.weights * self.nodes**power).sum())


def rademacher(n: int, generator: torch.Generator) -> Tensor:
    """Draw (n,) entries of +-1 with equal chances, float64, on the device of the generator."""
    bits = torch.randint(0, 2, (n,), generator=generator, device=generator.device)
    return bits.double().mul_(2).sub_(1)


def trace(
    product: Product,
    n: int,
    vectors: int,
    generator: torch.Generator,
    device: torch.device | None = None,
) -> TraceEstimate:
    """Estimate the trace of a matrix by Hutchinson's method.

    Args:
        product: v -> A v, for A (n, n).
        n: rows of A.
        vectors: N >= 1, products to make.
        generator: draws the vectors.
        device: where they are; that of the generator if None.

    Raises:
        ValueError: if ``vectors`` is not positive.

    >>> diagonal = torch.tensor([1.0, 2.0]).double()
    >>> trace(lambda v: diagonal * v, 2, 3, torch.Generator()).mean  # exact if A is diagonal
    3.0
    """
    if vectors < 1:
        raise ValueError(f"{vectors} vectors estimate no trace; pass 1 or more")
    samples = []
    for _ in range(vectors):
        vector = rademacher(n, generator).to(device or generator.device)
        samples.append(float(product(vector).to(vector) @ vector))
    mean = math.fsum(samples) / vectors
    spread = math.fsum((sample - mean) ** 2 for sample in samples)
    error = math.sqrt(spread / (vectors - 1) / vectors) if vectors > 1 else math.nan
    return TraceEstimate(mean, error, samples)


def density(
    product: Product,
    n: int,
    steps: int,
    vectors: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> Density:
    """Estimate the density of the eigenvalues by stochastic Lanczos quadrature.

    Each Lanczos run from a Rademacher vector v gives nodes and weights with the moments
    v^T A^k v / n, k up to 2m - 1; their mean over vectors is the density (Lin, Saad and Yang 2016;
    Ghorbani et al. 2019).

    Args:
        product: v -> A v, for a symmetric A (n, n).
        n: rows of A.
        steps: m >= 1, products of each run.
        vectors: N >= 1, runs.
        generator: draws the vectors.
        dtype: type in which Lanczos vectors are kept.
        device: where they are, if they fit; that of the generator if None.

    Raises:
        ValueError: if a number is not positive.
    """
    if vectors < 1:
        raise ValueError(f"{vectors} vectors estimate no density; pass 1 or more")
    device = device or generator.device
    runs = []
    for _ in range(vectors):
        start = rademacher(n, generator).to(device, dtype)
        runs.append(lanczos(product, start, steps).nodes_and_weights())
    nodes = torch.cat([nodes for nodes, _ in runs])
    weights = torch.cat([weights for _, weights in runs]) / vectors
    bandwidth = bandwidth_of(nodes)
    grid, values = smooth(nodes, weights, bandwidth)
    return Density(nodes, weights, grid, values, bandwidth)


def bandwidth_of(nodes: Tensor, share: float = BANDWIDTH) -> float:
    """Return the standard deviation that nodes are widened by: a share of their spread.

    So a loss that is scaled has the same picture, on a scaled axis.

    >>> bandwidth_of(torch.tensor([-1.0, 9.0]))
    0.03
    """
    spread = float(nodes.max() - nodes.min())
    return share * (spread or abs(float(nodes.max())) or 1.0)


def smooth(
    nodes: Tensor, weights: Tensor, bandwidth: float, points: int = GRID
) -> tuple[Tensor, Tensor]:
    """Widen weighted nodes to a density.

    Args:
        nodes: (K,).
        weights: (K,), which add up to 1.
        bandwidth: standard deviation of the Gaussian around each node, > 0.
        points: G, of the grid, which ends 5 standard deviations beyond the nodes.

    Returns:
        The grid (G,) and the density on it (G,), float64, of mass 1 by the trapezoidal rule.

    >>> grid, values = smooth(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5]), 0.1)
    >>> round(torch.trapezoid(values, grid).item(), 12), round(grid[0].item(), 12)
    (1.0, -0.5)
    """
    low, high = float(nodes.min()) - 5 * bandwidth, float(nodes.max()) + 5 * bandwidth
    grid = torch.linspace(low, high, points, dtype=torch.float64, device=nodes.device)
    distance = (grid.unsqueeze(1) - nodes.double()) / bandwidth
    values = (distance.square().mul_(-0.5).exp_() * weights.double()).sum(dim=1)
    return grid, values / torch.trapezoid(values, grid)
