"""Words in a padded batch of subwords: which token belongs to which word, and repacking.

Shapes: R rows, T tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .vocabulary import Vocabulary


@dataclass(frozen=True)
class Words:
    """Say which word each token belongs to.

    Args:
        index: (R, T) int64, the word's number in its row, from 0; protected tokens count as words
            of their own; 0 for padding.
        position: (R, T) int64, the token's number in its row, from 0; 0 for padding.
        editable: (R, T) bool, tokens that noise may change: no padding, no protected symbol.
        padding: (R, T) bool.
    """

    index: Tensor
    position: Tensor
    editable: Tensor
    padding: Tensor

    def spread(self, by_word: Tensor) -> Tensor:
        """Turn values of words (R, T) into values of tokens (R, T)."""
        return by_word.gather(1, self.index)


def words_of(tokens: Tensor, vocabulary: Vocabulary) -> Words:
    """Find the words of each row; numbers do not depend on the padding.

    Args:
        tokens: (R, T) int64, padded left or right.
        vocabulary: on the device of ``tokens``.

    Returns:
        The words.

    >>> from fairseq_bas.noise.vocabulary import vocabulary_of
    >>> v = vocabulary_of(["<pad>", "</s>", "\u2581a", "b"], [1, 1, 6, 2], 2, 0, 1)
    >>> words_of(torch.tensor([[0, 2, 3, 2, 1]]), v).index.tolist()
    [[0, 0, 0, 1, 2]]
    """
    padding, protected = tokens.eq(vocabulary.padding), vocabulary.protected[tokens]
    # A token begins a word if it says so, or if the one before it neither is text nor goes on.
    joins = vocabulary.goes_on[tokens][:, :-1]
    after_barrier = (protected | padding)[:, :-1]
    begins = vocabulary.begins[tokens] | protected
    begins[:, 1:] = torch.where(after_barrier, True, begins[:, 1:] & ~joins)
    begins[:, 0] = True
    index = (begins & ~padding).cumsum(1) - 1
    return Words(index.clamp(min=0), positions(padding), ~(padding | protected), padding)


def positions(padding: Tensor) -> Tensor:
    """Number the tokens of each row from 0, whatever the padding; 0 for left padding.

    Args:
        padding: (R, T) bool.

    >>> positions(torch.tensor([[True, False, False]])).tolist()
    [[0, 0, 1]]
    """
    return ((~padding).cumsum(1) - 1).clamp(min=0)


def repack(tokens: Tensor, keep: Tensor, padding: int, left_pad: bool) -> Tensor:
    """Close the gaps that dropped tokens leave, and cut columns that hold only padding.

    Args:
        tokens: (R, T) int64.
        keep: (R, T) bool; at least one token in all is kept.
        padding: id of the padding symbol.
        left_pad: True if padding is on the left.

    Returns:
        (R, T') int64, kept tokens in their order, T' the greatest number kept in a row.

    >>> repack(torch.tensor([[5, 6, 7]]), torch.tensor([[True, False, True]]), 0, True).tolist()
    [[5, 7]]
    """
    order = keep if left_pad else ~keep
    packed = tokens.masked_fill(~keep, padding).gather(1, order.long().argsort(dim=1, stable=True))
    longest = int(keep.sum(1).max())
    return packed[:, tokens.size(1) - longest :] if left_pad else packed[:, :longest]
