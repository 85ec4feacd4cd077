"""What noise has to know of a vocabulary: what is never touched, and where words begin.

Shapes: V vocabulary, R rows, T tokens.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SENTENCEPIECE_MARK = "\u2581"
SUBWORD_NMT_MARK = "@@"
TAG = re.compile(r"<.+>|__\w+__|\[[a-z]+_[A-Za-z]+\]|madeupword\d{4}")
"""Symbols that stand for no text: <mask>, __en__, [en_XX] and fairseq's padding of dictionaries."""


@dataclass(frozen=True)
class Vocabulary:
    """Hold a vocabulary as tensors; ``to`` moves them to a device.

    Args:
        padding: id of the padding symbol.
        mask: id that stands for a hidden word.
        protected: (V,) bool, symbols that noise never changes, moves or inserts.
        begins: (V,) bool, symbols that begin a word.
        goes_on: (V,) bool, symbols that the next one belongs to.
        frequency: (V,) float64, counts in the training text, 0 for protected symbols.
    """

    padding: int
    mask: int
    protected: Tensor
    begins: Tensor
    goes_on: Tensor
    frequency: Tensor

    def to(self, device: torch.device) -> "Vocabulary":
        """Return the vocabulary with its tensors on ``device``."""
        tables = (self.protected, self.begins, self.goes_on, self.frequency)
        return Vocabulary(self.padding, self.mask, *(table.to(device) for table in tables))


def vocabulary_of(
    symbols: Sequence[str], counts: Sequence[int], num_special: int, padding: int, unknown: int
) -> Vocabulary:
    """Read the subword marks off a list of symbols.

    A word begins at a sentencepiece mark where any symbol has one, after a symbol without ``@@``
    where any symbol ends in that, and else at every symbol.

    Args:
        symbols: the V symbols by id.
        counts: how often each occurs in the training text.
        num_special: the first ids are special symbols, as in a fairseq dictionary.
        padding: id of the padding symbol.
        unknown: id of the unknown-word symbol, which hides words where there is no ``<mask>``.

    Returns:
        The vocabulary, on the CPU.

    >>> v = vocabulary_of(["<pad>", "<unk>", "\u2581a", "b"], [1, 1, 6, 2], 2, 0, 1)
    >>> v.begins.tolist(), v.protected.tolist(), v.mask
    ([False, False, True, False], [True, True, False, False], 1)
    """
    size = len(symbols)
    protected = torch.tensor(
        [i < num_special or bool(TAG.fullmatch(s)) for i, s in enumerate(symbols)]
    )
    regular = symbols[num_special:]
    begins, goes_on = torch.ones(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
    if any(s.startswith(SENTENCEPIECE_MARK) for s in regular):
        begins = torch.tensor([s.startswith(SENTENCEPIECE_MARK) for s in symbols])
    elif any(s.endswith(SUBWORD_NMT_MARK) for s in regular):
        goes_on = torch.tensor([s.endswith(SUBWORD_NMT_MARK) for s in symbols])
    frequency = torch.tensor(counts, dtype=torch.float64).masked_fill(protected, 0.0)
    if not frequency.any():
        frequency = (~protected).double()
    mask = symbols.index("<mask>") if "<mask>" in symbols else unknown
    return Vocabulary(padding, mask, protected, begins, goes_on, frequency)
