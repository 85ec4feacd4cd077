"""Run the lower part of a model once for all copies of a sentence.

Copies that split after the encoder, or before the output layer, cost a fraction of whole copies.
The rows of the target are copied already; the model's input is not, and the copies are made where
they split. Multi-sample dropout (Inoue 2019) is the split before the output layer.

Shapes: B sentences, R copies of each in the pass, T target length, H hidden.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .unwrap import unwrapped

SPLITS = ("input", "encoder", "output")


def shared_inputs(split: str, net_input: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the model's inputs that keep one row a sentence.

    >>> shared_inputs("encoder", {"src_tokens": 0, "src_lengths": 0, "prev_output_tokens": 0})
    ('src_tokens', 'src_lengths')
    """
    if split == "input":
        return ()
    return tuple(key for key in net_input if split == "output" or key != "prev_output_tokens")


def copies_split_at(
    split: str, model: nn.Module, rows_per_sentence: int, dropout: float | None
) -> AbstractContextManager[None]:
    """Return a context in which the model makes ``rows_per_sentence`` copies of what it computes.

    Args:
        split: ``input`` (nothing to do), ``encoder`` or ``output``.
        model: a fairseq encoder-decoder, wrapped or not.
        rows_per_sentence: R.
        dropout: rate in [0, 1) of the dropout of each copy's features before the output layer, for
            ``output``; None for the decoder's own rate.
    """
    if split == "encoder":
        return _encoder_repeated(unwrapped(model).encoder, rows_per_sentence)
    if split == "output":
        decoder = unwrapped(model).decoder
        rate = decoder_dropout(decoder) if dropout is None else dropout
        return _features_repeated(decoder, rows_per_sentence, rate)
    return nullcontext()


def decoder_dropout(decoder: nn.Module) -> float:
    """Return the dropout rate of a Transformer or LSTM decoder's outputs."""
    module = getattr(decoder, "dropout_out_module", None) or decoder.dropout_module
    return module.p


@contextmanager
def _encoder_repeated(encoder: nn.Module, times: int) -> Iterator[None]:
    def repeat(module: nn.Module, inputs: tuple, output: Any) -> Any:
        states = output["encoder_out"][0] if isinstance(output, Mapping) else output[0]
        sentences = torch.arange(states.size(1), device=states.device)
        return encoder.reorder_encoder_out(output, sentences.repeat_interleave(times))

    handle = encoder.register_forward_hook(repeat)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _features_repeated(decoder: nn.Module, times: int, rate: float) -> Iterator[None]:
    extract_features = decoder.extract_features

    def repeated(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        features, extra = extract_features(*args, **kwargs)
        copies = features.repeat_interleave(times, dim=0)
        return functional.dropout(copies, rate, training=decoder.training), extra

    decoder.extract_features = repeated
    try:
        yield
    finally:
        del decoder.extract_features
