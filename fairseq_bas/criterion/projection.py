"""Find a decoder's output layer, and put a loss in its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fairseq.models import (
    BaseFairseqModel,
    FairseqDecoder,
    FairseqEncoderDecoderModel,
    FairseqLanguageModel,
)
from fairseq.models.lstm import LSTMDecoder, LSTMModel
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from torch import Tensor, nn

from ..model.lstm_lm_decoder import LSTMLanguageModelDecoder
from ..model.lstm_translation_decoder import LSTMTranslationDecoder
from ..model.unwrap import unwrapped

DECODERS = (
    TransformerDecoderBase,
    LSTMDecoder,
    LSTMLanguageModelDecoder,
    LSTMTranslationDecoder,
)


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
        The projection of a Transformer or LSTM decoder; None for an adaptive softmax or a mixture
        of softmaxes, and for any model, decoder or layer that changes how logits, targets or
        probabilities are made.
    """
    model = unwrapped(model)
    decoder = getattr(model, "decoder", None)
    if decoder is None or getattr(decoder, "adaptive_softmax", None) is not None:
        return None
    stock = (
        _inherits(
            model,
            "forward",
            TransformerModelBase,
            LSTMModel,
            FairseqEncoderDecoderModel,
            FairseqLanguageModel,
        )
        and _inherits(model, "get_targets", BaseFairseqModel)
        and _inherits(model, "get_normalized_probs", BaseFairseqModel, TransformerModelBase)
        and _inherits(model, "get_normalized_probs_scriptable", BaseFairseqModel)
        and _inherits(decoder, "forward", *DECODERS)
        and _inherits(decoder, "get_normalized_probs", FairseqDecoder)
        and _inherits(decoder, "get_normalized_probs_scriptable", FairseqDecoder)
    )
    layer = _output_layer(decoder) if stock else None
    # Quantisation noise and pruning act by hooks.
    if type(layer) not in (nn.Linear, nn.Embedding) or layer._forward_pre_hooks:
        return None
    return Projection(decoder, layer.weight, getattr(layer, "bias", None))


def _output_layer(decoder: FairseqDecoder) -> nn.Module | None:
    if _inherits(decoder, "output_layer", TransformerDecoderBase):
        return decoder.output_projection
    if _inherits(decoder, "output_layer", LSTMDecoder):
        return decoder.embed_tokens if decoder.share_input_output_embed else decoder.fc_out
    if _inherits(decoder, "output_layer", LSTMLanguageModelDecoder):
        return decoder.output_projection if decoder.mixture is None else None
    if _inherits(decoder, "output_layer", LSTMTranslationDecoder):
        return decoder.output_projection
    return None


def _inherits(instance: object, name: str, *bases: type) -> bool:
    """Tell whether a method is still that of one of the bases."""
    method = getattr(getattr(instance, name, None), "__func__", None)
    return method is not None and any(method is getattr(base, name, None) for base in bases)


@contextmanager
def output_layer_replaced(
    decoder: FairseqDecoder, function: Callable[[Tensor], Any]
) -> Iterator[None]:
    """Let calls of the model return ``function(features)`` where they return logits.

    The output layer's parameters are then used inside the model's ``forward``, as data-parallel
    wrappers that look for unused parameters expect.

    Args:
        decoder: the model's decoder.
        function: takes features (B, T, H).
    """
    decoder.output_layer = lambda features, **kwargs: function(features)
    try:
        yield
    finally:
        del decoder.output_layer
