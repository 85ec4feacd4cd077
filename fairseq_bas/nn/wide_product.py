"""Matrix products of half-precision matrices with sums and results in float32."""

import torch
from torch import Tensor

from .fast_product import multiplies_by_onednn, product


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """Return the type that sums are kept in: float32, or float64 for float64.

    >>> wide_type(torch.bfloat16), wide_type(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.promote_types(dtype, torch.float32)


def wide_product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two matrices of half precision into one of float32.

    A product in half precision is rounded to half, where large sums overflow.

    Args:
        left: (A, B), float16 or bfloat16.
        right: (B, C), same type.

    Returns:
        The product (A, C), float32.

    >>> wide_product(torch.full((1, 9), 100.0).half(), torch.full((9, 1), 100.0).half()).item()
    90000.0
    """
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return torch.mm(left.float(), right.float())


def add_product_(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left @ right`` to ``total`` in place.

    Args:
        total: (A, C), of ``wide_type`` of the factors' type.
        left: (A, B).
        right: (B, C).
    """
    if multiplies_by_onednn(left):
        total.add_(product(left, right))
    elif left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(wide_product(left, right))
