"""Dropout of whole word types.

Shapes: B rows, T tokens, E embedding, V vocabulary, G groups of rows.
"""

import torch
from torch import Tensor

from .random_mask import check_rate


def word_dropout(
    embedded: Tensor,
    tokens: Tensor,
    vocabulary_size: int,
    rate: float,
    num_groups: int = 1,
    generator: torch.Generator | None = None,
    training: bool = True,
) -> Tensor:
    """Zero the embeddings of randomly chosen word types, wherever they occur.

    With d ~ Bernoulli(rate) for each group and word type, row b of group b % G becomes
    embedded[b, t] * (1 - d[b % G, tokens[b, t]]) / (1 - rate). It equals dropout of rows of the
    embedding matrix, without a copy of that matrix.
    Source: Gal and Ghahramani 2016; Merity et al. 2018, section 4.3.

    Args:
        embedded: (B, T, E) floating point, the embeddings of ``tokens``.
        tokens: (B, T) int64 in [0, V).
        vocabulary_size: V, >= 1.
        rate: probability in [0, 1) that a word type is dropped.
        num_groups: G >= 1; rows of different groups have different masks.
        generator: draws the masks, on the device of ``embedded``; None for torch's own.
        training: return ``embedded`` itself if False.

    Returns:
        (B, T, E); the expectation over masks is ``embedded``.

    Raises:
        ValueError: if ``rate`` is out of range.

    >>> tokens = torch.tensor([[0, 1, 0, 1, 0, 1]])
    >>> dropped = word_dropout(torch.ones(1, 6, 1), tokens, 2, 0.5).flatten()
    >>> bool((dropped[2:] == dropped[:-2]).all())
    True
    """
    check_rate(rate)
    if not training or rate == 0:
        return embedded
    mask = embedded.new_empty(num_groups, vocabulary_size)
    mask.bernoulli_(1 - rate, generator=generator).div_(1 - rate)
    group = torch.arange(len(tokens), device=tokens.device) % num_groups
    return embedded * mask[group[:, None], tokens].unsqueeze(-1)
