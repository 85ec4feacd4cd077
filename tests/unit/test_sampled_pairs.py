"""Pairs whose copies are segmented anew, read by real data loaders and fairseq's own iterator."""

import pickle

import numpy as np
import pytest
import torch
from fairseq.data.iterators import EpochBatchIterator
from torch.utils.data import DataLoader

from fairseq_bas.data.sampled_pairs import SampledPairs
from fairseq_bas.data.select_replicas import select_replicas
from tests.sampled_pairs import SENTENCES, Corpus, base_pairs, listed, make_corpus, pairs_of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("model"))


def by_copy(batch, pad: int) -> dict[tuple[int, int], tuple]:
    """Return source, target and shifted target of each (sentence id, replica), unpadded."""
    tensors = (
        batch["net_input"]["src_tokens"],
        batch["target"],
        batch["net_input"]["prev_output_tokens"],
    )
    keys = zip(batch["id"].tolist(), batch["replica"].tolist(), strict=True)
    rows = [[[t for t in row if t != pad] for row in tensor.tolist()] for tensor in tensors]
    return dict(zip(keys, zip(*rows, strict=True), strict=True))


# -- what a copy depends on -------------------------------------------------------------------


def test_a_copy_depends_on_seed_epoch_sentence_and_replica_only(corpus):
    pairs, again = pairs_of(corpus), pairs_of(corpus)
    first = [listed(pairs[i]["copies"]) for i in range(SENTENCES)]
    backwards = [listed(again[i]["copies"]) for i in reversed(range(SENTENCES))]
    assert backwards[::-1] == first
    pairs.set_epoch(2)
    second = [listed(pairs[i]["copies"]) for i in range(SENTENCES)]
    assert sum(a == b for a, b in zip(first, second, strict=True)) == 0
    pairs.set_epoch(1)
    assert [listed(pairs[i]["copies"]) for i in range(SENTENCES)] == first
    other = pairs_of(corpus, seed=2)
    assert sum(listed(other[i]["copies"]) == first[i] for i in range(SENTENCES)) == 0


@pytest.mark.parametrize("clean", [False, True])
def test_a_worker_that_makes_some_replicas_makes_the_same(corpus, clean):
    whole = pairs_of(corpus, range(4), clean=clean)
    for part in (range(1), range(2, 4)):
        some = pairs_of(corpus, part, clean=clean)
        for i in range(20):
            expected = listed(whole[i]["copies"])[part.start : part.stop]
            assert listed(some[i]["copies"]) == expected


def test_copies_differ_and_the_clean_one_is_the_stored_one(corpus):
    pairs = pairs_of(corpus, range(4), clean=True)
    for i in range(SENTENCES):
        item = pairs[i]
        copies = listed(item["copies"])
        assert copies[0] == (item["source"].tolist(), item["target"].tolist())
        for side in zip(*copies, strict=True):
            assert len(set(map(tuple, side))) == 4


def test_a_side_without_sampler_keeps_its_segmentation(corpus):
    pairs = pairs_of(corpus, sides="s")
    for i in range(10):
        sources, targets = zip(*listed(pairs[i]["copies"]), strict=True)
        assert targets == (pairs[i]["target"].tolist(),) * 3
        assert len(set(map(tuple, sources))) == 3


# -- loader workers ---------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_loader_workers_draw_what_the_main_process_draws(corpus, workers):
    pairs = pairs_of(corpus)
    pairs.set_epoch(3)
    pairs[0]  # the parent has sampled before it forks
    batches = [list(range(i, SENTENCES, 7)) for i in range(7)]
    here = [pairs.collater([pairs[i] for i in batch]) for batch in batches]
    loader = DataLoader(
        pairs, batch_sampler=batches, collate_fn=pairs.collater, num_workers=workers
    )
    for mine, theirs in zip(here, loader, strict=True):
        assert by_copy(theirs, 1) == by_copy(mine, 1)


def epochs(pairs: SampledPairs, workers: int, count: int, resume_at: int = 0) -> list[dict]:
    """Read epochs as fairseq's trainer does, with its loader that outlives an epoch."""
    batches = [np.arange(i, SENTENCES, 6) for i in range(6)]
    iterator = EpochBatchIterator(
        pairs,
        collate_fn=pairs.collater,
        batch_sampler=batches,
        num_workers=workers,
        buffer_size=2,
        reuse_dataloader=True,
        persistent_workers=True,
    )
    if resume_at:
        iterator.load_state_dict({"epoch": count, "iterations_in_epoch": resume_at, "version": 2})
    read = []
    while len(read) < (1 if resume_at else count):
        epoch = iterator.next_epoch_itr(shuffle=True)
        read.append({k: v for batch in epoch for k, v in by_copy(batch, 1).items()})
    if workers:  # left to the garbage collector, each would take five seconds to end
        iterator.dataloader._iterator._shutdown_workers()
    return read


def test_workers_that_outlive_an_epoch_draw_the_next_one_anew(corpus):
    here = epochs(pairs_of(corpus), workers=0, count=3)
    assert all(len(epoch) == SENTENCES * 3 for epoch in here)
    assert sum(here[0][key] == here[1][key] for key in here[0]) < 5
    assert epochs(pairs_of(corpus), workers=2, count=3) == here


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_in_the_middle_of_an_epoch_draws_the_same(corpus, workers):
    whole = epochs(pairs_of(corpus), workers=0, count=2)[1]
    [rest] = epochs(pairs_of(corpus), workers, count=2, resume_at=2)
    assert len(rest) == SENTENCES * 3 * 4 // 6
    assert {key: whole[key] for key in rest} == rest


def test_a_pickled_data_set_draws_the_same(corpus):
    pairs = pairs_of(corpus)
    copy = pickle.loads(pickle.dumps(pairs))
    assert listed(copy[5]["copies"]) == listed(pairs[5]["copies"])


# -- batches ----------------------------------------------------------------------------------


def require_sound(batch, pairs: SampledPairs, ids: list[int], replicas: range) -> None:
    """Check a batch against the items it was made of."""
    rows, pad = len(ids) * len(replicas), 1
    net_input = batch["net_input"]
    expected = {
        (i, pairs.replicas[position]): copy
        for i in ids
        for position, copy in enumerate(listed(pairs[i]["copies"]))
        if pairs.replicas[position] in replicas
    }
    found = by_copy(batch, pad)
    assert found == {key: (s, t, [2, *t[:-1]]) for key, (s, t) in expected.items()}
    assert batch["nsentences"] == rows == len(batch["target"])
    assert batch["ntokens"] == sum(len(target) for _, target in expected.values())
    lengths = net_input["src_lengths"]
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)
    assert lengths.tolist() == net_input["src_tokens"].ne(pad).sum(1).tolist()
    sentence = batch["row"] // len(replicas)
    assert torch.tensor(ids)[sentence].equal(batch["id"])
    assert (replicas.start + batch["row"] % len(replicas)).equal(batch["replica"])
    assert sorted(batch["row"].tolist()) == list(range(rows))
    for tokens in (net_input["src_tokens"], batch["target"], net_input["prev_output_tokens"]):
        assert tokens.ne(pad).any(0).all()
    source_ends = net_input["src_tokens"][:, -1 if pairs.left_pad_source else 0]
    target_ends = batch["target"][:, -1 if pairs.left_pad_target else 0]
    assert source_ends.ne(pad).all() and target_ends.ne(pad).all()


@pytest.mark.parametrize(("left_source", "left_target"), [(True, False), (False, True)])
def test_a_batch_holds_every_copy_and_says_which(corpus, left_source, left_target):
    pairs = pairs_of(corpus, range(2, 5), left_pad_source=left_source, left_pad_target=left_target)
    ids = [31, 4, 17, 9, 50]
    batch = pairs.collater([pairs[i] for i in ids])
    assert batch["made_replicas"] == range(2, 5)
    require_sound(batch, pairs, ids, range(2, 5))
    for part in (range(2, 5), range(3, 4), range(3, 5)):
        before = {key: batch[key] for key in ("id", "row", "replica", "target", "net_input")}
        copies = select_replicas(batch, part, num_replicas=6)
        require_sound(copies, pairs, ids, part)
        assert (copies["replicas"], copies["num_replicas"]) == (part, 6)
        assert copies["rows_per_sentence"] == len(part)
        assert all(batch[key] is value for key, value in before.items())
        pinned = {**batch, "made_replicas": list(batch["made_replicas"])}
        require_sound(select_replicas(pinned, part, 6), pairs, ids, part)


def test_selecting_cuts_padding_down_to_the_multiple_asked_for(corpus):
    pairs = pairs_of(corpus, range(4), pad_to_multiple=8)
    batch = pairs.collater([pairs[i] for i in range(0, 12)])
    for replica in range(4):
        one = select_replicas(batch, range(replica, replica + 1), 4)
        for tokens in (one["net_input"]["src_tokens"], one["target"]):
            longest = int(tokens.ne(1).sum(1).max())
            assert tokens.size(1) == -(-longest // 8) * 8


def test_replicas_that_were_not_made_are_refused(corpus):
    pairs = pairs_of(corpus, range(2))
    batch = pairs.collater([pairs[0]])
    with pytest.raises(ValueError, match=r"range\(1, 3\) were asked for and range\(0, 2\) made"):
        select_replicas(batch, range(1, 3), 3)


def test_items_without_copies_are_collated_as_stored(corpus):
    pairs, base = pairs_of(corpus), base_pairs(corpus)
    batch, expected = (d.collater([base[i] for i in (3, 8)]) for d in (pairs, base))
    assert batch.keys() == expected.keys()
    assert batch["target"].equal(expected["target"]) and batch["id"].equal(expected["id"])
    assert pairs.collater([]) == {}
