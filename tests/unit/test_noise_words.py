"""Words of subwords: marks, padding, protected symbols."""

import random

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


def plain_words(text, mark):
    """Return the word number of each symbol of a sentence, read symbol by symbol.

    Args:
        text: symbols; those in angle brackets are special.
        mark: ``start`` (sentencepiece), ``end`` (subword-nmt) or ``none``.
    """
    index, before = [], None
    for symbol in text:
        if before is None:
            index.append(0)
        else:
            alone = symbol.startswith("<") or before.startswith("<")
            begins = {
                "start": symbol.startswith("\u2581"),
                "end": not before.endswith("@@"),
                "none": True,
            }[mark]
            index.append(index[-1] + (alone or begins))
        before = symbol
    return index


def random_texts(mark, count=60):
    """Return sentences of random words of 1 to 4 pieces, special symbols among them."""
    generator = random.Random(1)
    texts = []
    for _ in range(count):
        text = []
        for _ in range(generator.randint(1, 9)):
            pieces = [generator.choice("abc") for _ in range(generator.randint(1, 4))]
            if generator.random() < 0.2:
                text.append(generator.choice(["<unk>", "<mask>"]))
            elif mark == "start":
                # Also pieces that begin nothing: what a cut sentence starts with.
                lost = generator.random() < 0.1
                text += pieces if lost else ["\u2581" + pieces[0], *pieces[1:]]
            elif mark == "end":
                lost = generator.random() < 0.1
                text += [p + "@@" for p in pieces[:-1]] + [pieces[-1] + "@@" * lost]
            else:
                text += pieces
        texts.append([*text, "</s>"])
    return texts


@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("left_pad", [False, True])
@pytest.mark.parametrize("mark", ["start", "end", "none"])
def test_batches_of_random_sentences_equal_a_plain_reading(mark, left_pad, extra):
    texts = random_texts(mark)
    symbols = [*SPECIAL, "<mask>", *sorted({s for t in texts for s in t if s[0] != "<"})]
    vocabulary = vocabulary_of(symbols, [1] * len(symbols), 4, PAD, UNK)
    width = max(map(len, texts)) + extra
    ids = [[symbols.index(s) for s in text] for text in texts]
    blank = [[PAD] * (width - len(row)) for row in ids]
    tokens = [b + r if left_pad else r + b for r, b in zip(ids, blank, strict=True)]
    words = words_of(torch.tensor(tokens), vocabulary)
    assert torch.equal(words.padding, torch.tensor(tokens).eq(PAD))
    for row, text in enumerate(texts):
        real = ~words.padding[row]
        assert words.index[row][real].tolist() == plain_words(text, mark)
        assert words.position[row][real].tolist() == list(range(len(text)))
        assert words.editable[row][real].tolist() == [s[0] != "<" for s in text]
    assert not words.editable[words.padding].any()
    # Values of words come to all tokens of the word.
    values = torch.arange(float(width)).expand(len(texts), width) * 10
    assert torch.equal(words.spread(values), words.index * 10.0)


def test_the_same_words_are_found_whatever_marks_them():
    sentence = [["a", "b", "c"], ["b"], ["c", "a"]]
    found = []
    for mark in ("start", "end"):
        text = []
        for word in sentence:
            if mark == "start":
                text += ["\u2581" + word[0], *word[1:]]
            else:
                text += [*(p + "@@" for p in word[:-1]), word[-1]]
        index, _ = numbers(sorted(set(text)), [*text, "</s>"], left_pad=True)
        found.append(index)
    assert found[0] == found[1] == [0, 0, 0, 1, 2, 2, 3]


def test_a_mark_that_is_a_character_of_the_text_does_not_decide():
    """A block in a web text beside @@, a quoted @@ beside sentencepiece's marks."""
    pieces = ["a@@", "b@@", "c", "\u2581"]
    assert numbers(pieces, ["c", "a@@", "b@@", "c", "\u2581"], False)[0] == [0, 1, 1, 1, 2]
    pieces = ["\u2581a", "\u2581b", "c", "@@"]
    assert numbers(pieces, ["\u2581a", "@@", "c", "\u2581b", "c"], False)[0] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("symbols", [["\u2581a", "b", "c"], ["a@@", "b", "c"]])
def test_by_token_every_token_is_a_word(symbols):
    """As text without spaces needs it, where sentencepiece marks only a sentence's begin."""
    vocabulary = vocabulary_of([*SPECIAL, *symbols], [1] * 7, 4, PAD, UNK, by_token=True)
    words = words_of(torch.tensor([[4, 5, 6, 5, EOS]]), vocabulary)
    assert words.index.tolist() == [[0, 1, 2, 3, 4]]
