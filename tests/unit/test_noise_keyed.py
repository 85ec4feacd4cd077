"""Keyed numbers against SplitMix64 in whole numbers, and against the uniform distribution."""

import itertools
from hashlib import blake2b

import pytest
import torch
from scipy import stats

from fairseq_bas.noise.distinct import count_distinct, fingerprints
from fairseq_bas.noise.keyed import bits, mix, row_keys, uniform
from fairseq_bas.noise.partner import partners
from fairseq_bas.rng import derive_seed

MASK = 2**64 - 1


def splitmix64(state):
    """Return the output of SplitMix64 for a counter, as its authors' C program computes it."""
    z = state & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_mix_is_splitmix64():
    counters = [0, 1, -1, 2**62, -(2**63), 12345678987654321, *range(-50, 50)]
    mixed = mix(torch.tensor(counters))
    assert [x & MASK for x in mixed.tolist()] == [splitmix64(c) for c in counters]
    # The published sequence for the seed 1234567.
    gamma = 0x9E3779B97F4A7C15
    state = [(1234567 + k * gamma) & MASK for k in (1, 2, 3)]
    signed = torch.tensor([s - 2**64 if s >= 2**63 else s for s in state])
    assert [x & MASK for x in mix(signed).tolist()] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def keys_of(count, update=0, seed=1, stream="source_noise"):
    ids = torch.arange(count)
    return row_keys(seed, stream, update, ids, torch.zeros_like(ids))


def test_numbers_and_bits_are_uniform():
    draws = uniform(keys_of(200).copy, "drop", 200).flatten()
    assert stats.kstest(draws.numpy(), "uniform").pvalue > 1e-3
    observed = torch.histc(draws.float(), bins=64, min=0, max=1)
    assert stats.chisquare(observed).pvalue > 1e-3
    words = bits(keys_of(300).copy, "jitter", 100).flatten()
    for place in range(0, 64, 7):
        ones = int(((words >> place) & 1).sum())
        assert stats.binomtest(ones, words.numel(), 0.5).pvalue > 1e-4, place


@pytest.mark.parametrize(
    "what", ["position", "sentence", "replica", "update", "seed", "draw", "stream"]
)
def test_neighbouring_keys_give_independent_numbers(what):
    count = 20_000
    ids, zeros = torch.arange(count), torch.zeros(count, dtype=torch.int64)
    base = row_keys(1, "source_noise", 0, ids, zeros).copy
    other = {
        "position": lambda: uniform(base, "drop", 2)[:, 1],
        "sentence": lambda: uniform(row_keys(1, "source_noise", 0, ids + 1, zeros).copy, "drop", 1)[
            :, 0
        ],
        "replica": lambda: uniform(row_keys(1, "source_noise", 0, ids, zeros + 1).copy, "drop", 1)[
            :, 0
        ],
        "update": lambda: uniform(row_keys(1, "source_noise", 1, ids, zeros).copy, "drop", 1)[:, 0],
        "seed": lambda: uniform(row_keys(2, "source_noise", 0, ids, zeros).copy, "drop", 1)[:, 0],
        "draw": lambda: uniform(base, "shuffle", 1)[:, 0],
        "stream": lambda: uniform(row_keys(1, "target_noise", 0, ids, zeros).copy, "drop", 1)[:, 0],
    }[what]()
    one = uniform(base, "drop", 1)[:, 0]
    assert stats.pearsonr(one, other).pvalue > 1e-3 or abs(stats.pearsonr(one, other)[0]) < 0.02
    table = torch.histogramdd(torch.stack([one, other], 1), bins=[8, 8], range=[0, 1, 0, 1]).hist
    assert stats.chisquare(table.flatten()).pvalue > 1e-3


def test_a_row_has_its_numbers_in_any_batch():
    ids, replicas = torch.tensor([5, 5, 9, 2]), torch.tensor([0, 3, 0, 1])
    keys = row_keys(1, "source_noise", 4, ids, replicas)
    order = torch.tensor([2, 0, 3])
    alone = row_keys(1, "source_noise", 4, ids[order], replicas[order])
    assert torch.equal(uniform(keys.copy, "x", 9)[order], uniform(alone.copy, "x", 9))
    assert torch.equal(uniform(keys.copy, "x", 9)[:, :4], uniform(keys.copy, "x", 4))
    assert keys.sentence[0] == keys.sentence[1] != keys.sentence[2]


def test_partners_are_rings_of_other_sentences_wherever_rows_stand():
    sentences, replicas = 7, 3
    ids = torch.arange(sentences).repeat_interleave(replicas)
    numbers = torch.arange(replicas).repeat(sentences)
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))
    whole = partners(row_keys(1, "source_noise", 0, ids, numbers), replicas)
    shuffled = partners(row_keys(1, "source_noise", 0, ids[order], numbers[order]), replicas)
    assert torch.equal(ids[order][shuffled], ids[whole][order])
    assert torch.equal(numbers[whole], numbers) and (ids[whole] != ids).all()
    for replica in range(replicas):
        seen, row = set(), replica
        while row not in seen:
            seen.add(row)
            row = int(whole[row])
        assert len(seen) == sentences
    rings = {tuple(ids[whole[numbers == replica]].tolist()) for replica in range(replicas)}
    assert len(rings) > 1


def test_distinct_copies_are_counted_by_their_tokens():
    rows = [[4, 5, 6], [4, 5, 6], [4, 6, 5], [4, 5], [4, 5, 5], [5, 6]]
    padded = torch.tensor([[1] * (5 - len(row)) + row for row in rows])
    other = torch.tensor([row + [1] * (4 - len(row)) for row in rows])
    left, right = fingerprints(padded, 1), fingerprints(other, 1)
    assert torch.equal(left, right)
    for a, b in itertools.combinations(range(len(rows)), 2):
        assert (left[a] == left[b]).item() == (rows[a] == rows[b])
    assert count_distinct(left[None]).tolist() == [5]


def as_signed(x):
    return x - 2**64 if x >= 2**63 else x


def test_numbers_follow_from_the_key_in_whole_numbers():
    """Follow seed, sentence, replica, draw and position through every hash."""
    gamma, update = 0x9E3779B97F4A7C15, 7
    ids, replicas = [0, 3, 3, 10**12], [0, 0, 5, 1]
    keys = row_keys(9, "source_noise", update, torch.tensor(ids), torch.tensor(replicas))
    numbers, words = uniform(keys.copy, "drop", 4), bits(keys.copy, "drop", 4)
    salt = int.from_bytes(blake2b(b"drop", digest_size=8).digest(), "little")
    for row, (sentence, replica) in enumerate(zip(ids, replicas, strict=True)):
        shared = splitmix64(sentence * gamma + derive_seed(9, "source_noise", update))
        copy = splitmix64(shared + (replica + 1) * gamma)
        assert keys.sentence[row].item() == as_signed(shared)
        assert keys.copy[row].item() == as_signed(copy)
        start = splitmix64(copy ^ salt)
        expected = [splitmix64(start + (n + 1) * gamma) for n in range(4)]
        assert words[row].tolist() == [as_signed(x) for x in expected]
        assert numbers[row].tolist() == [(x >> 11) / 2**53 for x in expected]


def test_every_bit_of_a_key_reaches_every_bit_of_the_hash():
    """Each of 64 x 64 flips happens for half of the keys: 4096 binomial counts, 5.5 sigma."""
    keys = bits(torch.arange(4), "test", 500).flatten()
    places = torch.arange(64)
    for flipped in range(64):
        changed = mix(keys) ^ mix(keys ^ as_signed(1 << flipped))
        share = ((changed[:, None] >> places) & 1).double().mean(0)
        assert (share - 0.5).abs().max() < 5.5 * 0.5 / len(keys) ** 0.5


def test_keys_of_a_grid_are_all_different_and_inputs_stay_as_they_are():
    ids, replicas = torch.arange(3000).repeat_interleave(8), torch.arange(8).repeat(3000)
    before = ids.clone(), replicas.clone()
    keys = [row_keys(1, "source_noise", update, ids, replicas) for update in range(3)]
    assert torch.cat([k.copy for k in keys]).unique().numel() == 3 * 3000 * 8
    assert torch.cat([k.sentence for k in keys]).unique().numel() == 3 * 3000
    copy = keys[0].copy.clone()
    first = uniform(keys[0].copy, "drop", 3)
    mix(keys[0].copy)
    assert torch.equal(keys[0].copy, copy) and torch.equal(ids, before[0])
    assert torch.equal(replicas, before[1])
    assert torch.equal(uniform(keys[0].copy, "drop", 3), first)
