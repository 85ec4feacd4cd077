"""Binarised text read piece by piece, its hashes and its counts, against plain Python."""

from collections import Counter

import numpy as np
import pytest
import torch

from fairseq_bas.data.corpus_scan import KINDS, Seen, scan_held_out, scan_train
from fairseq_bas.data.integrity import verify_mmap_dataset
from fairseq_bas.data.sentence_hash import pair_hashes, sentence_hashes
from fairseq_bas.data.token_file import TokenFile, pieces

indexed_dataset = pytest.importorskip("fairseq.data.indexed_dataset")


def write(prefix, sentences):
    builder = indexed_dataset.make_builder(f"{prefix}.bin", "mmap", 50)
    for sentence in sentences:
        builder.add_item(torch.tensor(sentence, dtype=torch.int32))
    builder.finalize(f"{prefix}.idx")
    return TokenFile(prefix)


def random_sentences(count, seed):
    generator = np.random.default_rng(seed)
    sentences = [[*generator.integers(3, 7, n), 2] for n in generator.integers(0, 4, count)]
    return [[int(token) for token in sentence] for sentence in sentences]


@pytest.mark.parametrize("max_tokens", [1, 5, 1000])
def test_pieces_are_the_sentences_in_their_order(tmp_path, max_tokens):
    sides = [random_sentences(30, seed) for seed in (1, 2)]
    files = [write(tmp_path / str(side), text) for side, text in enumerate(sides)]
    read = [[], []]
    for piece in pieces(files, max_tokens):
        assert len(piece[0][1]) == 1 or sum(len(tokens) for tokens, _ in piece) <= max_tokens
        for side, (tokens, lengths) in enumerate(piece):
            ends = np.cumsum(lengths)
            read[side] += [tokens[e - n : e].tolist() for e, n in zip(ends, lengths, strict=True)]
    assert read == sides


def test_hashes_are_equal_exactly_for_equal_sentences():
    """All 1 + 5 + 25 + 125 + 625 sentences of up to four of five tokens, twice, in two types."""
    sentences = [[]]
    for length in range(4):
        longer = [s for s in sentences if len(s) == length]
        sentences += [[*sentence, token] for sentence in longer for token in range(5)]
    lengths = np.array([len(sentence) for sentence in sentences])
    tokens = np.array([token for sentence in sentences for token in sentence])
    hashes = sentence_hashes(tokens, lengths.astype(np.int32))
    again = sentence_hashes(tokens.astype(np.uint16), lengths)
    assert len(np.unique(hashes)) == len(sentences) == 781
    assert np.array_equal(hashes, again)
    pairs = pair_hashes(np.repeat(hashes, 781), np.tile(hashes, 781))
    assert len(np.unique(pairs)) == 781**2


def test_hashes_spread_over_all_bits():
    """Each bit of the hashes of short, similar sentences is set in half of them."""
    tokens = np.stack([np.arange(20_000), np.full(20_000, 2)], 1).ravel()
    hashes = sentence_hashes(tokens, np.full(20_000, 2))
    shares = [float(((hashes >> np.uint64(bit)) & np.uint64(1)).mean()) for bit in range(64)]
    assert max(abs(share - 0.5) for share in shares) < 0.02  # 5 standard deviations are 0.018


def test_counts_and_overlaps_by_hand(tmp_path):
    train = [random_sentences(200, 3), random_sentences(200, 4)]
    valid = [random_sentences(40, 5), random_sentences(40, 6)]
    valid[0][7], valid[1][7] = train[0][11], train[1][11]
    files = {
        name: [write(tmp_path / f"{name}{side}", text) for side, text in enumerate(sides)]
        for name, sides in (("train", train), ("valid", valid))
    }
    held_out = scan_held_out(files["valid"], [7, 7], True, lambda n: None)
    seen = {kind: Seen(held_out.hashes[kind]) for kind in KINDS}
    reached = []
    counts = scan_train([files["train"]], [7, 7], True, seen, reached.append)

    def keys(sides):
        source, target = ([tuple(sentence) for sentence in side] for side in sides)
        pairs = list(zip(source, target, strict=True))
        return {"source": source, "target": target, "pair": pairs}

    for kind, wanted in keys(valid).items():
        inside = sum(key in set(keys(train)[kind]) for key in wanted)
        assert seen[kind].count(held_out.hashes[kind]) == inside
        assert 0 < inside < 40 or kind != "pair"
    pairs = keys(train)["pair"]
    assert counts.repeated == len(pairs) - len(set(pairs)) > 0
    assert counts.copied == sum(source == target for source, target in pairs) > 0
    assert reached[-1] == 200
    for kind, side in zip(KINDS, train, strict=False):
        lengths = sorted(map(len, side))
        frequency = Counter(token for sentence in side for token in sentence)
        counted = counts.sides[kind]
        assert counted.sentences == 200 and counted.tokens == sum(lengths)
        assert counted.empty == lengths.count(1) and counted.longest == lengths[-1]
        assert counted.unknown == frequency[3]
        assert counted.frequency.tolist() == [frequency[token] for token in range(7)]
        assert counted.percentile(50) == lengths[99] and counted.percentile(95) == lengths[189]
        assert counted.longer_than(2) == sum(length > 2 for length in lengths)


def test_parts_of_a_training_set_are_one(tmp_path):
    text = random_sentences(50, 1)
    whole = scan_train([[write(tmp_path / "all", text)]], [7], False, {}, lambda n: None)
    parts = [[write(tmp_path / "a", text[:20])], [write(tmp_path / "b", text[20:])]]
    reached = []
    together = scan_train(parts, [7], False, {}, reached.append)
    assert reached == [20, 50]
    assert together.repeated == whole.repeated
    assert np.array_equal(together.sides["source"].frequency, whole.sides["source"].frequency)


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (26 + 4, b"\x05", "sentence 3 of 3 has 3 tokens from byte 10, and should .* byte 16"),
        (26 + 4, b"\x00", "sentence 2 of 3 has 0 tokens"),
        (26 + 7, b"\xff", "sentence 2 of 3 has -16777214 tokens"),
        (26 + 12 + 8, b"\x00", "sentence 2 of 3 has 2 tokens from byte 0"),
        (26 + 12 + 15, b"\xff", "with --workers 1"),
    ],
)
def test_damaged_index_entries(tmp_path, place, value, complaint):
    """Sizes of both files still agree; fairseq would read past the end or other sentences."""
    write(tmp_path / "train", [[4, 5, 2], [6, 2], [4, 4, 2]])
    with open(tmp_path / "train.idx", "r+b") as file:
        file.seek(place)
        file.write(value)
    with pytest.raises(ValueError, match=complaint):
        verify_mmap_dataset(tmp_path / "train")


def test_tokens_that_the_dictionary_lacks(tmp_path):
    write(tmp_path / "train", [[4, 5, 2], [6, 2], [4, 9, 2]])
    assert verify_mmap_dataset(tmp_path / "train", 10) == 3
    with pytest.raises(ValueError, match="holds token 9 at place 6, and its dictionary has 9 en"):
        verify_mmap_dataset(tmp_path / "train", 9)
