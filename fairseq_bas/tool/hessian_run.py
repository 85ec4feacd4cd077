"""Measure the curvature at checkpoints one after the other."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..measure.eigenvalues import Eigenvalues, top_eigenvalues
from ..measure.hessian_product import hessian_product, why_not_double
from ..measure.lanczos import Product
from ..measure.loss_surface import LossSurface
from ..measure.spectrum import Density, TraceEstimate, density, trace
from .model_surface import load_surface, require_same_text
from .progress import Progress


@dataclass(frozen=True)
class Curvature:
    """Hold what was found at one checkpoint; a part that was not asked for is None.

    Attributes:
        facts: of the checkpoint and the text.
        method: ``double``, ``difference`` or ``gauss-newton``.
        not_double: why products are not by differentiating the gradient; None if they are.
        loss: f, nats per token.
        gradient_norm: Euclidean norm of the gradient of f.
        top: the largest eigenvalues.
        smallest: the smallest ones.
        trace: of the matrix.
        density: of its eigenvalues.
        products: with vectors, in all.
        seconds: that they took.
    """

    facts: dict[str, Any]
    method: str
    not_double: str | None
    loss: float
    gradient_norm: float
    top: Eigenvalues | None
    smallest: Eigenvalues | None
    trace: TraceEstimate | None
    density: Density | None
    products: int
    seconds: float


def measure(args: argparse.Namespace, paths: Sequence[str]) -> list[Curvature]:
    """Measure checkpoints.

    Args:
        args: the arguments of ``fairseq-bas hessian``.
        paths: the checkpoints.

    Returns:
        The results, in the order of ``paths``.

    Raises:
        ValueError: if the input is refused.
    """
    results: list[Curvature] = []
    for path in paths:
        loaded = load_surface(args, path)
        require_same_text([result.facts for result in results] + [loaded.facts])
        with Progress(f"curvature at {path}", "Hessian products") as progress:
            results.append(curvature_at(args, loaded.surface, loaded.facts, progress))
    return results


def curvature_at(
    args: argparse.Namespace, surface: LossSurface, facts: dict[str, Any], progress: Progress
) -> Curvature:
    """Measure one surface at its point.

    Args:
        args: the arguments of ``fairseq-bas hessian``.
        surface: the loss.
        facts: what is known of it.
        progress: told of every product.

    Raises:
        ValueError: if more eigenvalues are asked for than there are, or the method does not work.
    """
    method, not_double = _method(args, surface)
    multiply = hessian_product(surface, method)
    begun = time.monotonic()

    def product(vector: Tensor) -> Tensor:
        image = multiply(vector)
        progress.step()
        return image

    loss, gradient = surface.loss_and_gradient()
    top, smallest = (
        _eigenvalues(product, surface, count, which, args)
        for count, which in ((args.top, "LA"), (args.smallest, "SA"))
    )
    n, device = surface.size, surface.device
    estimate = shape = None
    if args.trace_vectors:
        generator = torch.Generator().manual_seed(args.seed)
        estimate = trace(product, n, args.trace_vectors, generator, device)
    if args.density_steps and args.density_vectors:
        generator = torch.Generator().manual_seed(args.seed)
        sizes = (args.density_steps, args.density_vectors)
        shape = density(product, n, *sizes, generator, surface.dtype, device)
    return Curvature(
        facts=facts,
        method=method,
        not_double=not_double,
        loss=loss,
        gradient_norm=float(gradient.double().norm()),
        top=top,
        smallest=smallest,
        trace=estimate,
        density=shape,
        products=progress.count,
        seconds=time.monotonic() - begun,
    )


def _method(args: argparse.Namespace, surface: LossSurface) -> tuple[str, str | None]:
    """Return how to multiply, and why not by differentiating the gradient."""
    if args.method == "difference":
        return "difference", "as asked"
    reason = why_not_double(surface)
    if args.gauss_newton:
        return "gauss-newton", reason
    if reason is None:
        return "double", None
    if args.method == "double":
        raise ValueError(f"--method double: {reason}; pass --method difference")
    return "difference", reason


def _eigenvalues(
    product: Product, surface: LossSurface, count: int, which: str, args: argparse.Namespace
) -> Eigenvalues | None:
    if not count:
        return None
    generator = torch.Generator().manual_seed(args.seed)
    return top_eigenvalues(product, surface.size, count, generator, which, args.tolerance)
