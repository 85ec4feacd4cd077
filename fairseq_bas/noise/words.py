"""Words in a padded batch of subwords: which token belongs to which word.

Shapes: R rows, T tokens.
"""

from dataclasses import dataclass

from torch import Tensor

from .vocabulary import BEGINS, GOES_ON, PROTECTED, Vocabulary


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

    >>> import torch
    >>> from fairseq_bas.noise.vocabulary import vocabulary_of
    >>> v = vocabulary_of(["<pad>", "</s>", "\u2581a", "b"], [1, 1, 6, 2], 2, 0, 1)
    >>> words_of(torch.tensor([[0, 2, 3, 2, 1]]), v).index.tolist()
    [[0, 0, 0, 1, 2]]
    """
    padding, kind = tokens.eq(vocabulary.padding), vocabulary.kind[tokens]
    protected = kind.bitwise_and(PROTECTED).bool()
    # A token begins a word if it says so, or if what stands before it is no text, and then only if
    # the one before does not go on. A protected token is a word of its own.
    goes_on = kind.bitwise_and(GOES_ON | PROTECTED).eq(GOES_ON) & ~padding
    begins = kind.bitwise_and(BEGINS | PROTECTED).bool()
    barrier = protected | padding
    begins[:, 1:] &= ~goes_on[:, :-1] | protected[:, 1:]
    begins[:, 1:] |= barrier[:, :-1]
    begins[:, 0] = True
    index = ((begins & ~padding).cumsum(1) - 1).clamp_(min=0)
    return Words(index, positions(padding), ~barrier, padding)


def positions(padding: Tensor) -> Tensor:
    """Number the tokens of each row from 0, whatever the padding; 0 for left padding.

    Args:
        padding: (R, T) bool.

    >>> import torch
    >>> positions(torch.tensor([[True, False, False]])).tolist()
    [[0, 0, 1]]
    """
    return ((~padding).cumsum(1) - 1).clamp(min=0)
