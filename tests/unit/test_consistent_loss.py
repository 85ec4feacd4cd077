"""The chunked loss of copies against autograd over whole logits in float64."""

import pytest
import torch

from fairseq_bas.nn.chunked_loss import chunked_smoothed_loss
from fairseq_bas.nn.consistent_loss import consistent_smoothed_loss
from fairseq_bas.nn.divergence import DIVERGENCES
from tests.unit.test_divergence import naive

N, M, H, V, PAD = 11, 4, 5, 9, 0
KINDS = pytest.mark.parametrize("kind", DIVERGENCES)


def inputs(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(N, M, H, dtype=dtype, generator=generator).requires_grad_()
    weight = torch.randn(V, H, dtype=dtype, generator=generator).requires_grad_()
    bias = torch.randn(V, dtype=dtype, generator=generator).requires_grad_()
    target = torch.randint(V, (N,), generator=generator)  # some are padding
    assert target.eq(PAD).any()
    return features, weight, bias, target


def plain(features, weight, bias, target, epsilon, kind, coefficient):
    """Sum over tokens of [sum over copies of smoothed cross entropy + M c D]."""
    keep = target.ne(PAD)
    logits = (features @ weight.t() + bias)[keep]
    gold = target[keep]
    lprobs = logits.log_softmax(-1)
    off = epsilon / (V - 1)
    nll = -lprobs.gather(-1, gold[:, None, None].expand(-1, M, 1))[..., 0]
    smoothed = (1 - epsilon - off) * nll - off * lprobs.sum(-1)
    apart = naive(kind, logits, gold).sum()
    full = nll.new_zeros(N, M)
    full[keep] = nll
    return smoothed.sum() + M * coefficient * apart, full.detach(), apart.detach()


def gradients(loss, tensors):
    return torch.autograd.grad(loss * 3.0, tensors)


@KINDS
@pytest.mark.parametrize("chunk", [1, 3 * M, None])
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_equals_autograd_over_whole_logits(kind, chunk, epsilon):
    features, weight, bias, target = inputs()
    expected = plain(features, weight, bias, target, epsilon, kind, 1.7)
    ours = consistent_smoothed_loss(
        features, weight, bias, target, epsilon, kind, 1.7, PAD, chunk_tokens=chunk
    )
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)
    tensors = (features, weight, bias)
    for one, other in zip(
        gradients(ours[0], tensors), gradients(expected[0], tensors), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@KINDS
@pytest.mark.parametrize("parts", [[range(0, 2), range(2, 4)], [range(0, 1), range(1, 4)]])
def test_passes_with_their_own_copies_add_up(kind, parts):
    features, weight, bias, target = inputs()
    tensors = (features, weight, bias)
    whole = consistent_smoothed_loss(features, weight, bias, target, 0.1, kind, 0.8, PAD)
    expected = gradients(whole[0], tensors)
    total, summed = 0.0, [torch.zeros_like(x) for x in tensors]
    for part in parts:
        loss, nll, apart = consistent_smoothed_loss(
            features, weight, bias, target, 0.1, kind, 0.8, PAD, active=part
        )
        of_features, *others = gradients(loss, tensors)
        inactive = [m for m in range(M) if m not in part]
        assert not of_features[:, inactive].any()
        for have, more in zip(summed, (of_features, *others), strict=True):
            have += more
        total += loss
        torch.testing.assert_close(nll, whole[1])
        torch.testing.assert_close(apart, whole[2])
    torch.testing.assert_close(total, whole[0], rtol=1e-12, atol=0)
    for one, other in zip(summed, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@KINDS
def test_without_weight_it_is_the_plain_chunked_loss(kind):
    features, weight, bias, target = inputs(dtype=torch.float32)
    loss, nll, _ = consistent_smoothed_loss(features, weight, bias, target, 0.1, kind, 0.0, PAD)
    rows, golds = features.flatten(0, 1), target.repeat_interleave(M)
    expected, expected_nll = chunked_smoothed_loss(rows, weight, bias, golds, 0.1, PAD)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(nll.flatten(), expected_nll)
    tensors = (features, weight, bias)
    for one, other in zip(gradients(loss, tensors), gradients(expected, tensors), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@KINDS
def test_half_precision_is_near_double(kind):
    features, weight, bias, target = inputs()
    expected = consistent_smoothed_loss(features, weight, bias, target, 0.1, kind, 2.5, PAD)
    half = [x.detach().bfloat16().requires_grad_() for x in (features, weight, bias)]
    ours = consistent_smoothed_loss(*half, target, 0.1, kind, 2.5, PAD)
    assert ours[0].dtype == ours[1].dtype == torch.float32
    torch.testing.assert_close(ours[0].double(), expected[0], rtol=0.05, atol=0.05)
    for one, other in zip(
        gradients(ours[0], half), gradients(expected[0], (features, weight, bias)), strict=True
    ):
        assert one.dtype == torch.bfloat16 and one.isfinite().all()
        error = (one.double() - other).norm() / other.norm()
        assert error < 0.1


def test_nothing_of_the_size_of_the_logits_is_kept_for_the_backward_pass():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(64, 3, 8, generator=generator).requires_grad_()
    weight = torch.randn(500, 8, generator=generator).requires_grad_()
    target = torch.randint(500, (64,), generator=generator)
    saved = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x)
    with hooks:
        consistent_smoothed_loss(features, weight, None, target, 0.1, "rdrop", 1.0, chunk_tokens=9)
    assert saved and max(x.numel() for x in saved) <= max(features.numel(), weight.numel())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(2, 5)}, "give (N, M, H) and (V, H)"),
        ({"target": torch.zeros(3, dtype=torch.int64)}, "for 2 tokens; give int64 (N,)"),
        ({"divergence": "kl"}, "no divergence 'kl'; use one of rdrop, jsd"),
    ],
)
def test_wrong_input_is_refused(change, message):
    given = {
        "features": torch.zeros(2, 3, 5),
        "weight": torch.zeros(4, 5),
        "bias": None,
        "target": torch.zeros(2, dtype=torch.int64),
        "epsilon": 0.0,
        "divergence": "rdrop",
        "coefficient": 1.0,
    }
    with pytest.raises(ValueError) as error:
        consistent_smoothed_loss(**{**given, **change})
    assert message in str(error.value)
