"""Mixture of softmaxes: an output layer whose log-probabilities are not bound to rank H.

Shapes: K softmaxes, I input, E embedding, V vocabulary; ``...`` any leading dimensions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .random_mask import check_rate
from .wide_product import wide_type


class MixtureOfSoftmaxes(nn.Module):
    """Compute log sum_k pi_k softmax(W l_k + b).

    pi = softmax(P h) are the mixture weights, l_k = tanh(L_k h + a_k) the latent features, on which
    dropout acts; W and b are given, so that W can be tied to an embedding.
    Source: Yang et al. 2018, section 2.3.

    Args:
        input_size: I, of the features h.
        embed_size: E, of a row of W.
        num_softmaxes: K >= 1.
        dropout: rate in [0, 1) of the latent features, each unit by itself.

    Raises:
        ValueError: if a size or rate is out of range.
    """

    def __init__(self, input_size: int, embed_size: int, num_softmaxes: int, dropout: float = 0.0):
        super().__init__()
        if num_softmaxes < 1:
            raise ValueError(f"a mixture of {num_softmaxes} softmaxes is none; give 1 or more")
        check_rate(dropout)
        self.num_softmaxes, self.dropout = num_softmaxes, dropout
        self.prior = nn.Linear(input_size, num_softmaxes, bias=False)
        self.latent = nn.Linear(input_size, num_softmaxes * embed_size)

    def forward(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the log-probability of every word.

        Args:
            features: (..., I).
            weight: (V, E).
            bias: (V,) or None.

        Returns:
            (..., V), at least float32: softmaxes and their mixture are computed in it.
        """
        prior = self.prior(features)
        prior = prior.to(wide_type(prior.dtype)).log_softmax(dim=-1)
        latent = self.latent(features).tanh().unflatten(-1, (self.num_softmaxes, -1))
        latent = F.dropout(latent, self.dropout, self.training)
        logits = F.linear(latent, weight, bias)
        logits = logits.to(wide_type(logits.dtype))
        # One logsumexp of K * V logits less their normalisers; the product of K softmaxes and
        # their weights would lose small probabilities.
        shift = prior - logits.logsumexp(dim=-1)
        return torch.logsumexp(logits + shift.unsqueeze(-1), dim=-2)

    def extra_repr(self) -> str:
        """Name what the children do not show."""
        return f"num_softmaxes={self.num_softmaxes}, dropout={self.dropout}"
