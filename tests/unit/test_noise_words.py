"""Words of subwords: marks, padding, protected symbols."""

import pytest
import torch

from fairseq_bas.noise.vocabulary import vocabulary_of
from fairseq_bas.noise.words import words_of

PAD, EOS, UNK = 1, 2, 3
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def numbers(symbols, sentence, left_pad, extra=2):
    """Return each token's word number, without padding."""
    vocabulary = vocabulary_of([*SPECIAL, *symbols], [1] * (4 + len(symbols)), 4, PAD, UNK)
    ids = [([*SPECIAL, *symbols]).index(s) for s in sentence]
    padded = [PAD] * extra + ids if left_pad else ids + [PAD] * extra
    words = words_of(torch.tensor([padded]), vocabulary)
    real = slice(extra, None) if left_pad else slice(0, len(ids))
    assert words.padding[0, real].logical_not().all() and words.padding.sum() == extra
    assert words.position[0, real].tolist() == list(range(len(ids)))
    return words.index[0, real].tolist(), words.editable[0, real].tolist()


@pytest.mark.parametrize("left_pad", [False, True])
@pytest.mark.parametrize(
    ("symbols", "sentence", "index"),
    [
        (["\u2581a", "b", "\u2581c"], ["\u2581a", "b", "b", "\u2581c", "</s>"], [0, 0, 0, 1, 2]),
        (["\u2581a", "b"], ["b", "\u2581a", "</s>"], [0, 1, 2]),
        (["a@@", "b"], ["a@@", "a@@", "b", "b", "</s>"], [0, 0, 0, 1, 2]),
        (["a@@", "b"], ["a@@", "</s>"], [0, 1]),
        (["a", "b"], ["a", "b", "a", "</s>"], [0, 1, 2, 3]),
        (["\u2581a", "b"], ["\u2581a", "<unk>", "b", "b", "</s>"], [0, 1, 2, 2, 3]),
        (["__en__", "\u2581a", "b"], ["__en__", "b", "b", "</s>"], [0, 1, 1, 2]),
    ],
)
def test_words_are_found_by_their_marks(symbols, sentence, index, left_pad):
    found, editable = numbers(symbols, sentence, left_pad)
    assert found == index
    protected = {"</s>", "<unk>", "__en__"}
    assert editable == [symbol not in protected for symbol in sentence]


def test_mask_symbol_and_frequencies():
    symbols = [*SPECIAL, "a", "b", "<mask>", "madeupword0001"]
    vocabulary = vocabulary_of(symbols, [1, 1, 1, 1, 30, 10, 5, 5], 4, PAD, UNK)
    assert vocabulary.mask == 6
    assert vocabulary.frequency.tolist() == [0, 0, 0, 0, 30, 10, 0, 0]
    assert vocabulary.protected.tolist() == [True] * 4 + [False] * 2 + [True] * 2
    without = vocabulary_of(symbols[:6], [0] * 6, 4, PAD, UNK)
    assert without.mask == UNK
    assert without.frequency.tolist() == [0, 0, 0, 0, 1, 1]  # no counts: all alike
