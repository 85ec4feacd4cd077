"""The float32 copy of weights of half precision as one vector, on any device.

fairseq flattens weights on the GPU that is current, and so dies where there is none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.optim import FP16Optimizer
from torch import nn

from .replaced import replaced


def flattened(parameters: Sequence[nn.Parameter]) -> dict[int | None, nn.Parameter]:
    """Return one float32 parameter with the elements of all, and with zeros for a gradient.

    Args:
        parameters: at least one, all on one device.

    Returns:
        It by the index of its device, None for a CPU, as ``FP16Optimizer`` looks it up.

    >>> weights = [nn.Parameter(torch.ones(2, 2).half()), nn.Parameter(torch.zeros(1).half())]
    >>> flattened(weights)[None].tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0]
    """
    flat = nn.Parameter(torch.cat([p.detach().float().flatten() for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    return {parameters[0].device.index: flat}


@contextmanager
def flat_weights_on_cpu() -> Iterator[None]:
    """Let ``FP16Optimizer`` flatten weights on a CPU inside of the block."""
    build = FP16Optimizer.build_fp32_params

    def build_fp32_params(cls: type, args: Any, params: Any, flatten: bool = True) -> Any:
        return flattened(list(params)) if flatten else build(args, params, flatten)

    with replaced(FP16Optimizer, "build_fp32_params", classmethod(build_fp32_params)):
        yield
