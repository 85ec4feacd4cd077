"""What checkpoints of fairseq hold beyond tensors and plain values; fairseq is not needed."""

import argparse
from typing import Any

import numpy as np

try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray  # type: ignore[no-redef]


def checkpoint_types() -> list[Any]:
    """Return what torch's safe loader must allow for files of fairseq, in its own form.

    Legacy models keep their flags in a Namespace; BLEU at validation keeps its counts in NumPy
    arrays, whose classes of concrete dtypes are built without being named in the file. NumPy 2
    renamed ``numpy.core``, and a file keeps the name under which it was written, so both names are
    listed.

    Returns:
        Types, and functions with the names that files have for them.

    Example:
        >>> argparse.Namespace in checkpoint_types()
        True
    """
    functions = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ]
    dtypes = [type(np.dtype(code)) for code in "?bhilqBHILQefd"]
    return [argparse.Namespace, np.dtype, np.ndarray, *functions, *dtypes]
