"""The quick collater of pairs against fairseq's own, bit by bit."""

import pytest
import torch
from fairseq.data import Dictionary, LanguagePairDataset, ListDataset

from fairseq_bas.data.pair_collater import PairCollater, quick_collater


def dictionary():
    words = Dictionary()
    for number in range(30):
        words.add_symbol(f"w{number}")
    return words


def pairs(count, seed, **options):
    generator = torch.Generator().manual_seed(seed)

    def side():
        lengths = torch.randint(1, 9, (count,), generator=generator)
        texts = [torch.randint(4, 30, (int(n),), generator=generator) for n in lengths]
        for text in texts:
            text[-1] = 2
        return texts, lengths.numpy()

    (source, source_sizes), (target, target_sizes) = side(), side()
    words = dictionary()
    return LanguagePairDataset(
        ListDataset(source, source_sizes),
        source_sizes,
        words,
        ListDataset(target, target_sizes),
        target_sizes,
        words,
        **options,
    )


def assert_same(ours, theirs):
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        if isinstance(value, dict):
            assert_same(ours[key], value)
        elif isinstance(value, torch.Tensor):
            assert ours[key].dtype == value.dtype
            assert torch.equal(ours[key], value), key
        else:
            assert ours[key] == value and type(ours[key]) is type(value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"left_pad_source": False, "left_pad_target": True},
        {"pad_to_multiple": 8},
        {"eos": 3, "append_bos": True},
        {"remove_eos_from_source": True, "pad_to_multiple": 4},
    ],
)
@pytest.mark.parametrize("count", [1, 2, 37])
def test_batches_are_fairseqs(options, count):
    for seed in range(5):
        data = pairs(count, seed, **options)
        collater = quick_collater(data, data.collater)
        items = [data[i] for i in range(count)]
        assert isinstance(collater, PairCollater)
        assert_same(collater(items), data.collater(items))


def test_padding_within_a_sentence_is_left_to_fairseq():
    data = pairs(3, 1)
    items = [data[i] for i in range(3)]
    items[1]["source"] = torch.tensor([5, 1, 1, 6, 2])
    assert_same(PairCollater(data, data.collater)(items), data.collater(items))


def test_data_that_are_more_than_pairs_keep_their_collater():
    for options in ({"src_lang_id": 7}, {"input_feeding": False}):
        data = pairs(2, 1, **options)
        assert quick_collater(data, data.collater) == data.collater

    class Annotated(LanguagePairDataset):
        def collater(self, samples, pad_to_length=None):
            return {**super().collater(samples, pad_to_length), "more": True}

    data = pairs(2, 1)
    data.__class__ = Annotated
    assert quick_collater(data, data.collater)([data[0], data[1]])["more"]
