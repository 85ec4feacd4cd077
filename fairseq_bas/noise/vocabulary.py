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
PROTECTED, BEGINS, GOES_ON = 1, 2, 4


@dataclass(frozen=True)
class Vocabulary:
    """Hold a vocabulary as tensors; ``to`` moves them to a device.

    Args:
        padding: id of the padding symbol.
        mask: id that stands for a hidden word.
        kind: (V,) uint8, a sum of ``PROTECTED`` (noise never changes, moves or inserts the
            symbol), ``BEGINS`` (it begins a word) and ``GOES_ON`` (the next one belongs to it).
        frequency: (V,) float64, counts in the training text, 0 for protected symbols.
    """

    padding: int
    mask: int
    kind: Tensor
    frequency: Tensor

    @property
    def protected(self) -> Tensor:
        """Return (V,) bool, the protected symbols."""
        return self.kind.bitwise_and(PROTECTED).bool()

    def to(self, device: torch.device) -> "Vocabulary":
        """Return the vocabulary with its tensors on ``device``."""
        tables = (self.kind.to(device), self.frequency.to(device))
        return Vocabulary(self.padding, self.mask, *tables)


def vocabulary_of(
    symbols: Sequence[str],
    counts: Sequence[int],
    num_special: int,
    padding: int,
    unknown: int,
    by_token: bool = False,
) -> Vocabulary:
    """Read the subword marks off a list of symbols.

    A word begins at a sentencepiece mark, or after a symbol without ``@@``, whichever more symbols
    have; at every symbol if none has either.

    Args:
        symbols: the V symbols by id.
        counts: how often each occurs in the training text.
        num_special: the first ids are special symbols, as in a fairseq dictionary.
        padding: id of the padding symbol.
        unknown: id of the unknown-word symbol, which hides words where there is no ``<mask>``.
        by_token: True to let every symbol begin a word whatever its marks.

    Returns:
        The vocabulary, on the CPU.

    >>> v = vocabulary_of(["<pad>", "<unk>", "\u2581a", "b"], [1, 1, 6, 2], 2, 0, 1)
    >>> v.kind.tolist(), v.protected.tolist(), v.mask
    ([1, 1, 2, 0], [True, True, False, False], 1)
    """
    regular = symbols[num_special:]
    # More, because either may also be a character of the text.
    starts = sum(s.startswith(SENTENCEPIECE_MARK) for s in regular)
    ends = sum(s.endswith(SUBWORD_NMT_MARK) for s in regular)
    by_start = starts > ends and not by_token
    by_end = ends > 0 and ends >= starts and not by_token

    def kind_of(number: int, symbol: str) -> int:
        if number < num_special or TAG.fullmatch(symbol):
            return PROTECTED
        begins = not by_start or symbol.startswith(SENTENCEPIECE_MARK)
        return BEGINS * begins + GOES_ON * (by_end and symbol.endswith(SUBWORD_NMT_MARK))

    kind = torch.tensor([kind_of(i, s) for i, s in enumerate(symbols)], dtype=torch.uint8)
    protected = kind.eq(PROTECTED)
    frequency = torch.tensor(counts, dtype=torch.float64).masked_fill(protected, 0.0)
    if not frequency.any():
        frequency = (~protected).double()
    mask = symbols.index("<mask>") if "<mask>" in symbols else unknown
    return Vocabulary(padding, mask, kind, frequency)
