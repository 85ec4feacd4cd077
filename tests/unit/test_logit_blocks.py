"""Losses over several blocks of the vocabulary, a few rows at a time, against one block."""

import pytest
import torch

from fairseq_bas.nn import logit_blocks
from fairseq_bas.nn.chunked_loss import chunked_smoothed_loss
from fairseq_bas.nn.consistent_loss import consistent_smoothed_loss
from fairseq_bas.nn.fast_product import multiplies_by_onednn, product
from fairseq_bas.nn.logit_blocks import LogitBlocks, vocabulary_blocks

N, M, H, V, PAD = 13, 3, 6, 11, 1
DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)]
)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(logit_blocks, "BLOCK_COLUMNS", 4)
    monkeypatch.setattr(logit_blocks, "CACHE_ELEMENTS", 2 * M * V + 1)


def case(dtype, *shape):
    generator = torch.Generator().manual_seed(3)
    leaves = [
        torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for size in ((*shape, H), (V, H), (V,))
    ]
    return leaves, torch.randint(V, shape[:1], generator=generator)


def close(ours, expected, tolerance):
    for one, other in zip(ours, expected, strict=True):
        assert (one.double() - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize("width", [1, 4096, 4097, 32_768, 50_001])
def test_blocks_are_narrow_alike_and_cover_the_vocabulary(width):
    blocks = vocabulary_blocks(width)
    sizes = [block.stop - block.start for block in blocks]
    assert [i for b in blocks for i in range(b.start, b.stop)] == list(range(width))
    assert max(sizes) <= 4096 and max(sizes) - min(sizes) < len(sizes)
    assert vocabulary_blocks(width, "cuda") == [slice(0, width)]


@DTYPES
def test_smoothed_loss_over_blocks(small_blocks, dtype, tolerance):
    leaves, target = case(dtype, N)
    loss, _ = chunked_smoothed_loss(*leaves, target, 0.2, PAD, 5)
    exact, _ = case(torch.float64, N)
    lprobs = (exact[0] @ exact[1].t() + exact[2]).log_softmax(1)[target != PAD]
    off = 0.2 / (V - 1)
    at_target = lprobs.gather(1, target[target != PAD, None]).sum()
    truth = -(1 - 0.2 - off) * at_target - off * lprobs.sum()
    ours, expected = torch.autograd.grad(loss, leaves), torch.autograd.grad(truth, exact)
    close((loss, *ours), (truth, *expected), tolerance)
    assert ours[1].is_contiguous()


@DTYPES
@pytest.mark.parametrize("active", [None, range(1, 3)])
def test_consistent_loss_over_blocks(small_blocks, monkeypatch, dtype, tolerance, active):
    def run(leaves, target):
        loss, nll, apart = consistent_smoothed_loss(
            *leaves, target, 0.2, "rdrop", 1.5, PAD, active, chunk_tokens=5 * M
        )
        return loss, nll, apart, *torch.autograd.grad(loss, leaves)

    ours = run(*case(dtype, N, M))
    monkeypatch.undo()  # one block, all rows
    close(ours, run(*case(torch.float64, N, M)), tolerance)


def test_rows_that_are_worked_on_come_back(small_blocks):
    weight = torch.arange(float(V))[:, None]
    blocks = LogitBlocks(torch.ones(7, 1), weight, None, vocabulary_blocks(V))
    seen = [(rows, some.add_(1).clone()) for rows, some in blocks.rows(group=M)]
    assert [rows.stop - rows.start for rows, _ in seen] == [6, 1]
    for rows, some in seen:
        assert torch.equal(some, weight.t().expand(len(some), -1) + 1)
        assert torch.equal(torch.cat([b[rows] for b in blocks.blocks], 1), some)


@pytest.mark.skipif(
    not multiplies_by_onednn(torch.ones(1)), reason="products are not those of oneDNN here"
)
def test_a_factor_with_columns_apart_is_copied_before_onednn_sees_it(monkeypatch):
    """As it lies, oneDNN takes a thousand times as long for it."""
    seen, onednn = [], torch.ops.mkldnn._linear_pointwise

    def watched(x, weight, *rest):
        seen.append(weight)
        return onednn(x, weight, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", watched)
    left, wide = torch.randn(3, 5), torch.randn(5, 12)
    torch.testing.assert_close(product(left, wide[:, 2:7]), left @ wide[:, 2:7])
    assert seen[0].is_contiguous()
