"""What subword sampling has to know of a sentencepiece model: its type and its pieces."""

import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .vocabulary import SENTENCEPIECE_MARK

# Numbers of fields and values in sentencepiece_model.proto.
PIECES, TRAINER_SPEC = 1, 2
TEXT, SCORE, TYPE = 1, 2, 3
NORMAL = 1
MODEL_TYPE = 3
MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
VARINT, EIGHT_BYTES, FOUR_BYTES = 0, 1, 5


@dataclass(frozen=True)
class SubwordModel:
    """Hold a unigram or BPE model.

    Args:
        kind: ``unigram`` or ``bpe``.
        scores: log-probability (unigram) or priority (BPE) of each piece that stands for text;
            special, user-defined and byte pieces are not among them.
        processor: the ``SentencePieceProcessor``.
        path: its file.
    """

    kind: str
    scores: dict[str, float]
    processor: Any
    path: str

    def mark_side(self) -> str:
        """Return where pieces have the mark of a space: at their ``start`` or ``end``, or anywhere.

        No piece reaches beyond a mark but where it is anywhere.
        """
        if not any(SENTENCEPIECE_MARK in piece[1:] for piece in self.scores):
            return "start"
        if not any(SENTENCEPIECE_MARK in piece[:-1] for piece in self.scores):
            return "end"
        return "anywhere"


def read_model(path: str, flag: str) -> SubwordModel:
    """Read a sentencepiece model.

    Args:
        path: the ``.model`` file.
        flag: what the user calls it, for messages.

    Returns:
        The model.

    Raises:
        ValueError: if there is no such file, or it is no unigram or BPE model of sentencepiece.
    """
    processor = _load(path, flag)
    # sentencepiece itself shows types only where protobuf is installed.
    fields = list(_fields(processor.serialized_model_proto()))
    pieces = [dict(_fields(value)) for number, value in fields if number == PIECES]
    trainer_spec = dict(_fields(dict(fields).get(TRAINER_SPEC, b"")))
    kind = MODEL_TYPES.get(trainer_spec.get(MODEL_TYPE, 1), "unknown")
    if kind not in ("unigram", "bpe"):
        raise ValueError(
            f"{flag}: {path} is a model of type {kind}, which has one segmentation of each "
            "sentence; train one with data/subword.py --type unigram or bpe"
        )
    scores = {
        piece[TEXT].decode("utf-8"): struct.unpack("<f", piece.get(SCORE, bytes(4)))[0]
        for piece in pieces
        if piece.get(TYPE, NORMAL) == NORMAL
    }
    return SubwordModel(kind, scores, processor, path)


def require_pieces(model: SubwordModel, ids: Container[str], flag: str) -> None:
    """Refuse a dictionary that lacks pieces of a model.

    Args:
        model: the model.
        ids: the symbols of the dictionary.
        flag: what the user calls the model, for messages.

    Raises:
        ValueError: if some are missing.
    """
    missing = [piece for piece in model.scores if piece not in ids]
    if missing:
        raise ValueError(
            f"{flag}: the dictionary lacks {len(missing)} of the {len(model.scores)} pieces of "
            f"{model.path}, {missing[0]!r} for one, and samples with them would turn into unknown "
            "words; make the dictionary from the model with data/subword.py and pass it to "
            "fairseq-preprocess --srcdict"
        )


def _load(path: str, flag: str) -> Any:
    import sentencepiece

    advice = "give the model that segmented the training text, data/subword.py calls it spm.model"
    if not Path(path).is_file():
        raise ValueError(f"{flag}: {path} does not exist or is no file; {advice}")
    try:
        return sentencepiece.SentencePieceProcessor(model_file=path)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{flag}: {path} is not a sentencepiece model; {advice}") from error


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
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            yield number, varint()
            continue
        size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(wire) or varint()
        yield number, message[position : position + size]
        position += size
