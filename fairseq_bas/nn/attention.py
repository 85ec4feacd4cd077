"""Attention of a recurrent decoder over what an encoder read, for all decoder steps at once.

Shapes: T decoder steps, S source positions, R rows, H query, C memory.
"""

import torch
from torch import Tensor, nn

from .wide_product import wide_type


def attend(query: Tensor, memory: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Average a memory by how well its places match a query.

    With scores[r, t, s] = <query[t, r], memory[s, r]> and weights = softmax of the scores over s,
    context[t, r] = sum over s of weights[r, t, s] * memory[s, r].
    The softmax is in float32, in float64 for float64.

    Args:
        query: (T, R, C) floating point.
        memory: (S, R, C), S >= 1.
        padding: (S, R) bool, True where there is nothing to attend to; None for nowhere.

    Returns:
        The context (T, R, C), in the dtype of the memory; and the weights (R, T, S), which add up
        to 1 over s and are 0 at padding. A row of nothing but padding has equal weights.

    >>> memory = torch.tensor([[[0.0, 3.0]], [[2.0, 1.0]], [[9.0, 9.0]]])
    >>> padding = torch.tensor([[False], [False], [True]])
    >>> context, weights = attend(torch.zeros(1, 1, 2), memory, padding)
    >>> context.tolist(), weights.tolist()
    ([[[1.0, 2.0]]], [[[0.5, 0.5, 0.0]]])
    """
    by_row = memory.transpose(0, 1)
    scores = query.transpose(0, 1) @ by_row.transpose(1, 2)
    scores = scores.to(wide_type(scores.dtype))
    if padding is not None:
        # Not minus infinity, of which a row of nothing but padding would make NaN.
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(padding.t().unsqueeze(1), lowest)
    weights = scores.softmax(dim=-1)
    context = weights.to(memory.dtype) @ by_row
    return context.transpose(0, 1), weights


class GeneralAttention(nn.Module):
    """Attention whose scores are a bilinear form: score(q, m) = m^T W q.

    Source: Luong et al. 2015, section 3.1, the score "general".

    Args:
        query_size: H.
        memory_size: C.

    >>> attention = GeneralAttention(3, 4)
    >>> context, weights = attention(torch.zeros(2, 1, 3), torch.ones(5, 1, 4))
    >>> context.shape, weights.shape, attention.projection.weight.shape
    (torch.Size([2, 1, 4]), torch.Size([1, 2, 5]), torch.Size([4, 3]))
    """

    def __init__(self, query_size: int, memory_size: int):
        super().__init__()
        self.projection = nn.Linear(query_size, memory_size, bias=False)

    def forward(
        self, query: Tensor, memory: Tensor, padding: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend from each decoder step.

        Args:
            query: (T, R, H).
            memory: (S, R, C).
            padding: (S, R) bool, True where there is nothing; None for nowhere.

        Returns:
            The context (T, R, C) and the weights (R, T, S), see ``attend``.
        """
        return attend(self.projection(query), memory, padding)
