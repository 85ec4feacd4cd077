"""Perturbations of embeddings: sizes as asked, directions that raise the loss, hand cases."""

import math

import pytest
import torch

from fairseq_bas.noise.adversarial import (
    adversarial_copies,
    adversarial_rows,
    ascend,
    direction,
    project,
    row_size,
)
from fairseq_bas.noise.keyed import row_keys

BOTH = pytest.mark.parametrize("norm", ["l2", "sign"])


def rms(vectors, padding):
    """Root mean square over words of the lengths of vectors, word by word in Python."""
    sizes = []
    for row, hidden in zip(vectors.tolist(), padding.tolist(), strict=True):
        squares = [sum(x * x for x in v) for v, h in zip(row, hidden, strict=True) if not h]
        sizes.append(math.sqrt(sum(squares) / len(squares)))
    return torch.tensor(sizes, dtype=torch.float64)


@pytest.fixture
def rows():
    """Three rows of five tokens, padded left, right and not at all."""
    generator = torch.Generator().manual_seed(1)
    embedding, gradient = torch.randn(2, 3, 5, 8, generator=generator, dtype=torch.float64)
    padding = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]).bool()
    return embedding * torch.tensor([0.1, 1.0, 20.0])[:, None, None], gradient, padding


@BOTH
def test_size_is_as_asked_and_padding_stays(rows, norm):
    embedding, gradient, padding = rows
    size = torch.tensor([0.05, 0.1, 0.0], dtype=torch.float64)
    for start in (None, torch.zeros_like(embedding)):
        moved = ascend(start, gradient, embedding, padding, size, 0.1, norm)
        assert not moved[padding].any() and not moved[2].any()
        torch.testing.assert_close(rms(moved, padding), size * rms(embedding, padding))
    torch.testing.assert_close(row_size(embedding, padding), rms(embedding, padding))


def test_by_hand():
    """Words (3, 4) and (0, 5), both of length 5; gradient (0, 2), (2, 1), of length 3."""
    embedding = torch.tensor([[[3.0, 4.0], [0.0, 5.0]]], dtype=torch.float64)
    gradient = torch.tensor([[[0.0, -2.0], [2.0, 1.0]]], dtype=torch.float64)
    padding, size = torch.zeros(1, 2, dtype=torch.bool), torch.tensor([0.3], dtype=torch.float64)
    moved = ascend(None, gradient, embedding, padding, size, 0.3, "l2")
    root = math.sqrt(2)  # of two words
    torch.testing.assert_close(moved, gradient / 3 * 0.3 * 5 * root)
    moved = ascend(None, gradient, embedding, padding, size, 0.3, "sign")
    by_hand = torch.tensor([[[0.0, -1.5], [1.5, 1.5]]], dtype=torch.float64) / root
    torch.testing.assert_close(moved, by_hand)
    # A step of 0.2 from there along the first word's opposite gradient stays in the ball.
    gradient = torch.tensor([[[0.0, 3.0], [0.0, 4.0]]], dtype=torch.float64)
    again = ascend(moved, gradient, embedding, padding, size, 0.2, "sign")
    by_hand = torch.tensor([[[0.0, -0.5], [1.5, 1.5]]], dtype=torch.float64) / root
    torch.testing.assert_close(again, by_hand)
    start = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]], dtype=torch.float64)
    again = ascend(start, gradient, embedding, padding, size, 0.2, "l2")
    free = start + gradient / 5 * root  # longer than 1.5 * sqrt(2)
    torch.testing.assert_close(again, free * 1.5 * root / free.norm())


@BOTH
def test_direction_is_the_best_of_its_size(rows, norm):
    """To first order no other perturbation in the ball raises the loss more."""
    _, gradient, padding = rows
    best = direction(gradient, padding, norm)
    gained = (best * gradient).sum((1, 2))
    radius = torch.ones(3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    for spread in (0.1, 0.5, 2.0, 20.0):
        other = torch.randn(best.shape, generator=generator, dtype=torch.float64) * spread
        other = project((best + other).masked_fill(padding[..., None], 0), padding, radius, norm)
        assert ((other * gradient).sum((1, 2)) < gained).all()
        assert (rms(other, padding) <= 1 + 1e-12).all()
        torch.testing.assert_close(project(other, padding, radius, norm), other)


@BOTH
@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_rows_without_a_usable_gradient_stay(rows, norm, bad):
    embedding, gradient, padding = rows
    whole = ascend(None, gradient, embedding, padding, torch.ones(3), 1.0, norm)
    if bad == 0.0:
        gradient[1] = 0.0
    else:
        gradient[1, 2, 3] = bad
    moved = ascend(None, gradient, embedding, padding, torch.ones(3), 1.0, norm)
    assert not moved[1].any()
    torch.testing.assert_close(moved[[0, 2]], whole[[0, 2]])


@BOTH
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_half_precision_squares_do_not_overflow(rows, norm, scale):
    """Gradients and embeddings of half precision, scaled by a loss scale or hardly there."""
    embedding, gradient, padding = rows
    half = [(x * 30).half() for x in (embedding, gradient * scale / 30)]
    moved = ascend(None, half[1], half[0], padding, torch.full((3,), 0.1), 0.1, norm)
    assert moved.dtype == torch.float32
    expected = ascend(
        None, half[1].double(), half[0].double(), padding, torch.full((3,), 0.1), 0.1, norm
    )
    torch.testing.assert_close(moved.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("share", "copies"), [(0.5, 4), (0.3, 4), (0.5, 1), (0.7, 10), (1.0, 3)])
def test_share_of_copies(share, copies):
    """The last copies of each sentence, as many as asked on average, the same in any batch."""
    sentence = torch.arange(4000).repeat_interleave(copies)
    replica = torch.arange(copies).repeat(4000)
    chosen = adversarial_rows(row_keys(1, "target_noise", 5, sentence, replica), share, copies)
    by_sentence = chosen.view(4000, copies)
    assert (by_sentence.long().diff(dim=1) >= 0).all()
    counts = by_sentence.sum(1)
    least, greatest = adversarial_copies(share, copies)
    assert (least, greatest) == (
        math.floor(share * copies + 1e-9),
        math.ceil(share * copies - 1e-9),
    )
    assert set(counts.tolist()) == set(range(least, greatest + 1))
    # A standard deviation of the mean is at most 0.5 / sqrt(4000).
    assert counts.double().mean() == pytest.approx(share * copies, abs=0.03)
    few = torch.tensor([7, 3001, 9])
    keys = row_keys(1, "target_noise", 5, sentence[few], replica[few])
    assert torch.equal(adversarial_rows(keys, share, copies), chosen[few])
    other = adversarial_rows(row_keys(1, "target_noise", 6, sentence, replica), share, copies)
    assert torch.equal(other, chosen) == (least == greatest)


@pytest.mark.parametrize("drift", [0.01, 0.1, 0.5, 0.9])
def test_a_stale_direction_keeps_the_part_of_the_rise_that_theory_says(rows, drift):
    """With a gradient that is off by d, at least sqrt(1 - d^2 / |g|^2) of the best rise."""
    _, gradient, padding = rows
    gradient = gradient.masked_fill(padding[..., None], 0)
    length = gradient.norm(dim=(1, 2), keepdim=True)
    best = (direction(gradient, padding, "l2") * gradient).sum((1, 2))
    kept = []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        error = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        error = error.masked_fill(padding[..., None], 0)
        if seed % 2:  # the worst is at a right angle to the stale gradient
            error = error - (error * gradient).sum((1, 2), keepdim=True) / length**2 * gradient
            error = error / error.norm(dim=(1, 2), keepdim=True) * length
            error = math.sqrt(1 - drift**2) * error - drift * gradient
        error = error / error.norm(dim=(1, 2), keepdim=True) * drift * length
        stale = direction(gradient + error, padding, "l2")
        kept.append((stale * gradient).sum((1, 2)) / best)
    bound = math.sqrt(1 - drift**2)
    assert torch.stack(kept).min() >= bound - 1e-12
    assert torch.stack(kept).min() == pytest.approx(bound, rel=1e-9)
