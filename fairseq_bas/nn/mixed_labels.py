"""Correct a loss for labels that are mixtures of two words.

Shapes: N tokens, H hidden, V vocabulary.
"""

from torch import Tensor

from .wide_product import wide_type


def mixed_label_correction(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    other: Tensor,
    share: Tensor,
) -> Tensor:
    """Return what -log p changes by when part of a label moves to another word.

    With the label (1 - s) y + s y', the negative log-likelihood is
    (1 - s) (-log p_y) + s (-log p_y') = -log p_y + s (z_y - z_y'), as the normaliser cancels. So
    mixing labels costs two rows of the output layer a token, and no second softmax.

    Args:
        features: (N, H).
        weight: (V, H), the output layer.
        bias: (V,) or None.
        target: (N,) int64, y.
        other: (N,) int64, y'.
        share: (N,) in [0, 1], s.

    Returns:
        s (z_y - z_y') of each token, (N,), at least float32.

    >>> import torch
    >>> features, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> y, other, share = torch.tensor([1]), torch.tensor([0]), torch.tensor([0.25])
    >>> mixed_label_correction(features, weight, None, y, other, share).item()
    0.25
    """
    wide = wide_type(features.dtype)
    rows = weight.index_select(0, target).to(wide) - weight.index_select(0, other).to(wide)
    difference = (features.to(wide) * rows).sum(1)
    if bias is not None:
        difference = difference + (bias[target] - bias[other]).to(wide)
    return share.to(wide) * difference
