"""Random directions in the space of parameters, as large as the weights themselves.

Li et al. 2018 (arXiv 1712.09913), section 4: a Gaussian direction whose every filter has the norm
of the same filter of the weights, so that models of different scale can be compared. A filter is
what belongs to one output: a row of a linear layer, a gate unit of an LSTM, the vector of one word
of an embedding.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_DIRECTION_STREAM = 0x646972  # keeps these draws apart from others that use the same seed
_TINY = 1e-10


def filter_normalised(direction: Tensor, weight: Tensor) -> Tensor:
    """Rescale each slice of a direction along its first dimension to the norm of the weight's.

    A vector or scalar (bias, gain of a norm) becomes 0, as in the authors' program.

    Args:
        direction: of the shape of ``weight``.
        weight: a parameter.

    Returns:
        The rescaled direction, of the shape and dtype of ``weight``.

    >>> filter_normalised(torch.ones(2, 4), torch.tensor([[3.0, 0, 4, 0], [0, 0, 0, 0]]))
    tensor([[2.5000, 2.5000, 2.5000, 2.5000],
            [0.0000, 0.0000, 0.0000, 0.0000]])
    >>> filter_normalised(torch.ones(2), torch.ones(2))
    tensor([0., 0.])
    """
    if weight.dim() <= 1:
        return torch.zeros_like(weight)
    inner = tuple(range(1, weight.dim()))
    direction = direction.to(weight)
    norms = torch.linalg.vector_norm(direction, dim=inner, keepdim=True)
    wanted = torch.linalg.vector_norm(weight, dim=inner, keepdim=True)
    return direction * (wanted / (norms + _TINY))


def random_direction(weights: Sequence[Tensor], seed: int, number: int = 0) -> list[Tensor]:
    """Draw a filter-normalised Gaussian direction.

    It is drawn on the CPU in float32, so it is the same on every device and in every dtype.

    Args:
        weights: distinct parameters; a tied one once, so that it is moved once.
        seed: >= 0.
        number: directions of one seed with different numbers are independent.

    Returns:
        One tensor for each parameter, of its shape, dtype and device.

    >>> [direction] = random_direction([torch.eye(3)], seed=1)
    >>> [round(float(norm), 6) for norm in direction.norm(dim=1)]
    [1.0, 1.0, 1.0]
    """
    words = np.random.SeedSequence([seed, _DIRECTION_STREAM, number]).generate_state(2)
    generator = torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
    return [
        filter_normalised(torch.randn(weight.shape, generator=generator), weight.detach())
        for weight in weights
    ]
