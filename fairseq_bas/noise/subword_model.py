"""What subword sampling has to know of a sentencepiece model: its type, its pieces, its alpha."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}

DROPOUT_TABLE = np.array(
    [
        # p of the paper, tokens of the paper's algorithm, of sentencepiece at alpha = p (both
        # relative to no dropout), alpha at which sentencepiece gives the paper's tokens.
        (0.00, 1.000, 1.000, 0.000),
        (0.05, 1.088, 1.167, 0.026),
        (0.10, 1.184, 1.324, 0.056),
        (0.15, 1.288, 1.477, 0.089),
        (0.20, 1.398, 1.626, 0.124),
        (0.30, 1.638, 1.914, 0.205),
        (0.40, 1.903, 2.186, 0.298),
        (0.50, 2.191, 2.452, 0.404),
        (0.60, 2.495, 2.709, 0.519),
        (0.70, 2.812, 2.959, 0.643),
        (0.80, 3.126, 3.201, 0.769),
        (0.90, 3.413, 3.435, 0.891),
        (1.00, math.nan, math.nan, 1.000),  # characters in both
    ]
)
"""Means over 15 BPE models and the text they were trained on, measured with sentencepiece 0.2.3:
1,000, 3,000 and 8,000 subwords of English, of Spanish, of both and of a novel, and 100, 200 and 400
of a toy grammar. ``tests/unit/test_subword.py`` holds the paper's algorithm."""


def alpha_of_dropout(p: float) -> float:
    """Translate the paper's merge dropout into the one of sentencepiece, by `DROPOUT_TABLE`.

    In the paper a dropped merge is offered again after the next merge; in sentencepiece it is gone
    until a neighbour changes, so equal probabilities leave more tokens.

    Args:
        p: drop probability of Provilkov et al., in [0, 1].

    Returns:
        The ``alpha`` that gives as many tokens a word; monotone and piecewise linear in p.

    >>> [round(alpha_of_dropout(p), 3) for p in (0.0, 0.05, 0.1, 0.2, 1.0)]
    [0.0, 0.026, 0.056, 0.124, 1.0]
    """
    return float(np.interp(p, DROPOUT_TABLE[:, 0], DROPOUT_TABLE[:, 3]))


def text_pieces(processor: Any) -> dict[int, str]:
    """Return the pieces of a sentencepiece model that stand for text, by id."""
    return {
        i: processor.id_to_piece(i)
        for i in range(len(processor))
        if not (processor.is_control(i) or processor.is_unknown(i) or processor.is_unused(i))
    }


def load_model(path: str, flag: str) -> Any:
    """Load a sentencepiece model.

    Args:
        path: the ``.model`` file.
        flag: what the user calls it, for messages.

    Returns:
        A ``SentencePieceProcessor``.

    Raises:
        ValueError: if there is no such file or it is no sentencepiece model.
    """
    import sentencepiece

    advice = "give the model that segmented the training text, data/subword.py calls it spm.model"
    if not Path(path).is_file():
        raise ValueError(f"{flag}: {path} does not exist or is no file; {advice}")
    try:
        return sentencepiece.SentencePieceProcessor(model_file=path)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{flag}: {path} is not a sentencepiece model; {advice}") from error


def model_type(processor: Any, path: str, flag: str) -> str:
    """Return ``unigram`` or ``bpe``.

    It is ``trainer_spec.model_type`` of the model file, which sentencepiece itself shows only where
    protobuf is installed.

    Args:
        processor: a loaded model.
        path: its file, for messages.
        flag: what the user calls it, for messages.

    Raises:
        ValueError: if the model is of another type.
    """
    trainer_spec = dict(_fields(processor.serialized_model_proto())).get(2, b"")
    name = MODEL_TYPES.get(dict(_fields(trainer_spec)).get(3, 1), "unknown")
    if name not in ("unigram", "bpe"):
        raise ValueError(
            f"{flag}: {path} is a model of type {name}, which has one segmentation of each "
            "sentence; train one with data/subword.py --type unigram or bpe"
        )
    return name


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a serialized protocol buffer."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position, value, shift = position + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while position < len(message):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(tag & 7) or varint()
        yield tag >> 3, message[position : position + size]
        position += size


def sampling_alpha(model_type: str, strength: float, nbest: int, flag: str) -> float:
    """Turn the published parameter of a sampler into the ``alpha`` of sentencepiece.

    Args:
        model_type: ``unigram`` or ``bpe``.
        strength: unigram: the inverse temperature, > 0; BPE: p of the paper, in (0, 1).
        nbest: unigram: -1 or 2 to 512; BPE: -1.
        flag: what the user calls it, for messages.

    Raises:
        ValueError: if a number is out of range.
    """
    if model_type == "bpe":
        if not 0 < strength < 1:
            raise ValueError(
                f"{flag}: {strength} is no probability of dropping a merge, as the model is BPE; "
                "give a number between 0 and 1, such as 0.1"
            )
        if nbest != -1:
            raise ValueError(
                f"{flag}: {nbest} best segmentations exist for unigram models only; "
                "leave the number out, as the model is BPE"
            )
        return alpha_of_dropout(strength)
    if not 0 < strength < math.inf:
        raise ValueError(
            f"{flag}: {strength} is no inverse temperature; give a number above 0, such as 0.2"
        )
    if nbest != -1 and not 2 <= nbest <= 512:
        raise ValueError(
            f"{flag}: cannot draw from {nbest} best segmentations; give 2 to 512, or -1 for all"
        )
    return float(strength)
