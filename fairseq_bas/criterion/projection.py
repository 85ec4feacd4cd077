"""Find a decoder's output layer, and run a model up to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fairseq.models import BaseFairseqModel, FairseqDecoder
from fairseq.models.lstm import LSTMDecoder
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from torch import Tensor, nn


class Projection(NamedTuple):
    """Hold a decoder whose logits are ``features @ weight.T + bias``; weight (V, H), bias (V,)."""

    decoder: FairseqDecoder
    weight: Tensor
    bias: Tensor | None


def projection_of(model: nn.Module) -> Projection | None:
    """Return the output layer of a model, if it is a single linear map and nothing comes after it.

    Args:
        model: a fairseq model, wrapped for data-parallel training or not.

    Returns:
        The projection of a Transformer or LSTM decoder; None for an adaptive softmax, and for any
        model, decoder or layer that changes how logits or probabilities are made.
    """
    while not isinstance(model, BaseFairseqModel) and hasattr(model, "module"):
        model = model.module
    decoder = getattr(model, "decoder", None)
    if decoder is None or getattr(decoder, "adaptive_softmax", None) is not None:
        return None
    if not (_inherits(model, "get_normalized_probs", BaseFairseqModel, TransformerModelBase)):
        return None
    if not _inherits(decoder, "get_normalized_probs", FairseqDecoder):
        return None
    if _inherits(decoder, "output_layer", TransformerDecoderBase):
        layer = decoder.output_projection
    elif _inherits(decoder, "output_layer", LSTMDecoder):
        layer = decoder.embed_tokens if decoder.share_input_output_embed else decoder.fc_out
    else:
        return None
    if type(layer) not in (nn.Linear, nn.Embedding):
        return None
    return Projection(decoder, layer.weight, getattr(layer, "bias", None))


def _inherits(instance: object, name: str, *bases: type) -> bool:
    """Tell whether a method is still that of one of the bases."""
    method = getattr(getattr(instance, name, None), "__func__", None)
    return method is not None and any(method is getattr(base, name, None) for base in bases)


@contextmanager
def features_only(decoder: FairseqDecoder) -> Iterator[None]:
    """Let calls of the model return what would go into the output layer.

    A flag of ``forward`` exists for Transformers only, and calling the decoder itself would go past
    data-parallel wrappers.
    """
    decoder.output_layer = lambda features, **kwargs: features
    try:
        yield
    finally:
        del decoder.output_layer
