"""Streams and windows: who reads what, when."""

from itertools import pairwise

import numpy as np
import pytest

from fairseq_bas.data.stream_windows import StreamLayout, window_lengths


def read(layout, seed=1, epoch=1):
    """Return the positions that each copy of each stream reads in an epoch, in order."""
    edges = np.cumsum([0, *layout.windows(seed, epoch)])
    rotations = layout.rotations(seed, epoch)
    return {
        (stream, replica): np.concatenate(
            [
                layout.positions(stream, replica, start, stop, rotations[stream])
                for start, stop in pairwise(edges)
            ]
        )
        for stream in range(layout.num_streams)
        for replica in range(layout.offset_replicas)
    }


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("streams", [1, 3, 7])
def test_streams_read_the_text_once_and_in_order(streams, variable):
    """Concatenated, the streams are the text without the remainder that does not divide."""
    layout = StreamLayout(1000, streams, 30, variable=variable)
    text = np.concatenate([read(layout)[stream, 0] for stream in range(streams)])
    np.testing.assert_array_equal(text, np.arange(1000 // streams * streams))


def test_variable_lengths_follow_the_published_distribution():
    """Mean and spread of N(70, 5) with probability 0.95, else N(35, 5), truncated to integers."""
    lengths = np.array(window_lengths(7_000_000, 70, key=3)[:-1])
    generator = np.random.RandomState(0)
    base = np.where(generator.rand(1_000_000) < 0.95, 70, 35)
    expected = np.maximum(5, generator.normal(base, 5).astype(int))
    assert lengths.mean() == pytest.approx(expected.mean(), abs=0.15)
    assert lengths.std() == pytest.approx(expected.std(), abs=0.15)
    assert (lengths < 50).mean() == pytest.approx(0.05, abs=0.003)


def test_windows_change_with_epoch_and_seed_only():
    """The cut is a function of seed and epoch, and differs between them."""
    layout = StreamLayout(5000, 2, 20, variable=True)
    assert layout.windows(1, 4) == layout.windows(1, 4)
    assert len({tuple(layout.windows(seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}) == 4


def test_rotated_streams_read_themselves_from_another_place():
    """Every stream is a rotation of what it is unrotated, each by its own amount."""
    plain = read(StreamLayout(600, 4, 25))
    rotated = read(StreamLayout(600, 4, 25, rotate=True), epoch=2)
    shifts = []
    for key, positions in plain.items():
        shift = int(np.flatnonzero(positions == rotated[key][0])[0])
        np.testing.assert_array_equal(rotated[key], np.roll(positions, -shift))
        shifts.append(shift)
    assert len(set(shifts)) == 4


def test_offset_copies_never_read_the_same_token_at_once():
    """In each step all copies of all streams are at different places, M / length apart."""
    layout = StreamLayout(997, 5, 24, offset_replicas=3)
    steps = np.stack(list(read(layout).values()))
    assert all(len(set(step)) == 15 for step in steps.T)
    assert steps[1, 0] - steps[0, 0] == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 11, 5), "11 streams cannot be cut from 10 tokens"),
        ((10, 2, 0), "--tokens-per-sample 0"),
        ((100, 10, 20, False, False, 2), "streams of 10 would let copies read the same"),
        ((100, 2, 3, False, False, 4), "4 copies, windows of 3"),
    ],
)
def test_layouts_that_make_no_sense_are_refused(arguments, message):
    """One sentence says what is wrong."""
    with pytest.raises(ValueError, match=message):
        StreamLayout(*arguments)
