"""The cross-entropy of a fairseq model on a micro-batch, differentiable any number of times.

Shapes: K target tokens that are no padding, V vocabulary.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ..measure.loss_surface import LossOf
from ..nn.wide_product import wide_type


def logits_of(padding_idx: int) -> LossOf:
    """Return what computes the logits of a micro-batch's target tokens.

    Where a model gives log-probabilities (adaptive softmax, mixture of softmaxes), they are the
    logits: their softmax is the same.

    Args:
        padding_idx: the target that does not count.

    Returns:
        (model, micro-batch) -> (K, V), at least float32, with graph.
    """

    def logits(model: nn.Module, batch: Any) -> Tensor:
        output = model(**batch["net_input"])
        target = batch["target"]
        adaptive = getattr(getattr(model, "decoder", None), "adaptive_softmax", None)
        scores = output[0] if adaptive is None else adaptive.get_log_prob(output[0], None)
        chosen: Tensor = scores.reshape(-1, scores.size(-1))[target.ne(padding_idx).reshape(-1)]
        return chosen.to(wide_type(chosen.dtype))

    return logits


def summed_loss(logits: LossOf, padding_idx: int, smoothing: float = 0.0) -> LossOf:
    """Return what computes the loss of a micro-batch, summed over its target tokens.

    With rate e: (1 - e - e / (V - 1)) * nll + e / (V - 1) * sum over the vocabulary of -log p,
    fairseq's label_smoothed_cross_entropy.

    Args:
        logits: computes (K, V).
        padding_idx: the target that does not count.
        smoothing: e, in [0, 1).

    Returns:
        (model, micro-batch) -> 0-dim float64, in nats, with graph.
    """

    def loss(model: nn.Module, batch: Any) -> Tensor:
        target = batch["target"]
        labels = target[target.ne(padding_idx)]
        log_probs = F.log_softmax(logits(model, batch), dim=-1)
        nll = -log_probs.gather(1, labels.unsqueeze(1)).squeeze(1)
        if smoothing:
            share = smoothing / (log_probs.size(1) - 1)
            nll = (1 - smoothing - share) * nll - share * log_probs.sum(dim=1)
        return nll.double().sum()

    return loss
