"""Lengths of pairs whose segmentations are sampled, and what the pairs keep of their data set."""

import numpy as np
import pytest
import torch
from fairseq.data import ListDataset, data_utils

from fairseq_bas.data.sampled_pairs import SampledPairs
from tests.sampled_pairs import SENTENCES, Corpus, base_pairs, listed, make_corpus, pairs_of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("model"))


def test_lengths_are_charged_with_the_growth(corpus):
    pairs, base = pairs_of(corpus), base_pairs(corpus)
    assert min(pairs.growth) > 1.1
    expected = np.ceil(base.sizes * np.array(pairs.growth))
    assert np.array_equal(pairs.sizes, expected)
    ids = np.arange(SENTENCES)
    assert np.array_equal(pairs.num_tokens_vec(ids), expected.max(1))
    assert [pairs.num_tokens(i) for i in ids] == expected.max(1).tolist()
    assert [pairs.size(i) for i in ids] == [tuple(row) for row in expected]
    real = np.array([[len(s), len(t)] for i in ids for s, t in listed(pairs[i]["copies"])])
    growth = np.mean([pairs_of(corpus, seed=seed).growth for seed in range(1, 6)], axis=0)
    assert real.mean(0) == pytest.approx(growth * base.sizes.mean(0), rel=0.03)
    assert np.array_equal(pairs_of(corpus, sides="t").sizes[:, 0], base.sizes[:, 0])


def test_batches_hold_as_many_tokens_as_allowed_after_sampling(corpus):
    pairs, base = pairs_of(corpus, range(1)), base_pairs(corpus)
    pairs.dataset.shuffle = base.shuffle = False
    order = pairs.ordered_indices()
    assert np.all(np.diff(pairs.src_sizes[order]) >= 0)
    totals = {}
    for name, data in (("charged", pairs), ("stored", base)):
        batches = data.batch_by_size(order, max_tokens=200)
        totals[name] = [
            sum(max(map(len, listed(pairs[i]["copies"])[0])) for i in batch) for batch in batches
        ]
    assert np.mean(totals["charged"][:-1]) <= 200 < np.mean(totals["stored"][:-1])
    assert np.mean(totals["charged"][:-1]) > 150


def test_samples_are_held_to_the_lengths_of_the_run(corpus):
    pairs, base = pairs_of(corpus, range(3)), base_pairs(corpus)
    ids = np.arange(SENTENCES)
    limits = (int(np.median(base.src_sizes)), int(np.median(base.tgt_sizes)) + 2)
    kept, ignored = pairs.filter_indices_by_size(ids, limits)
    assert np.array_equal(kept, base.filter_indices_by_size(ids, limits)[0])
    assert 0 < len(ignored) == SENTENCES - len(kept)
    assert (pairs.sizes[kept] <= limits).all()
    assert (pairs.sizes[ignored] > limits).any(1).all()
    free, stayed = pairs_of(corpus, range(3)), 0
    for i in kept:
        for held, unlimited in zip(pairs[i]["copies"], free[i]["copies"], strict=True):
            for side, limit in zip(("source", "target"), limits, strict=True):
                assert len(held[side]) <= limit
                if len(unlimited[side]) > limit:
                    stayed += held[side].equal(pairs[i][side])
    assert stayed > 5


def test_one_limit_holds_for_both_sides_and_max_tokens_is_one(corpus):
    pairs, base = pairs_of(corpus), base_pairs(corpus)
    longest = int(base.sizes.max())
    pairs.filter_indices_by_size(np.arange(SENTENCES), longest + 9)
    assert longest < pairs.sizes.max() <= longest + 9
    # Batches of one sentence at the least: no sample may exceed a batch.
    batches = pairs.batch_by_size(pairs.ordered_indices(), max_tokens=longest)
    assert pairs.sizes.max() == longest
    assert sorted(i for batch in batches for i in batch) == list(range(SENTENCES))
    assert (
        max(len(copy[s]) for i in range(SENTENCES) for copy in pairs[i]["copies"] for s in copy)
        <= longest
    )


# -- the wrapped data set ---------------------------------------------------------------------


def test_the_pairs_shine_through(corpus):
    pairs = pairs_of(corpus)
    base = pairs.dataset
    for name in ("src_dict", "tgt_dict", "src", "tgt", "left_pad_source", "eos", "shuffle"):
        assert getattr(pairs, name) is getattr(base, name)
    assert len(pairs) == SENTENCES
    assert pairs.can_reuse_epoch_itr_across_epochs
    with data_utils.numpy_seed(4):
        mine = pairs.ordered_indices()
    with data_utils.numpy_seed(4):
        assert np.array_equal(mine, base.ordered_indices())
    with pytest.raises(AttributeError):
        pairs.no_such_attribute  # noqa: B018


def test_word_alignments_and_buckets_are_refused(corpus):
    alignments = ListDataset([torch.zeros(2)] * SENTENCES, [2] * SENTENCES)
    with pytest.raises(ValueError, match="--sub and --sub with --load-alignments, which holds"):
        pairs_of(corpus, align_dataset=alignments)
    pairs = base_pairs(corpus)
    pairs.buckets = [(None, 8)]
    with pytest.raises(ValueError, match="--sub with --num-batch-buckets"):
        SampledPairs(pairs, None, corpus[0], range(2), 1, False)
