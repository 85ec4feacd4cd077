"""The chunked loss of copies against autograd over whole logits in float64."""

import pytest
import torch

from fairseq_bas.nn.chunked_loss import chunked_smoothed_loss
from fairseq_bas.nn.consistent_loss import consistent_smoothed_loss
from fairseq_bas.nn.divergence import DIVERGENCES
from tests.unit.test_chunked_loss import _LargestTensor
from tests.unit.test_divergence import naive

N, M, H, V, PAD = 11, 4, 5, 9, 0
KINDS = pytest.mark.parametrize("kind", DIVERGENCES)


def inputs(seed=0, dtype=torch.float64, copies=M):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(N, copies, H, dtype=dtype, generator=generator).requires_grad_()
    weight = torch.randn(V, H, dtype=dtype, generator=generator).requires_grad_()
    bias = torch.randn(V, dtype=dtype, generator=generator).requires_grad_()
    target = torch.randint(V, (N,), generator=generator)  # some are padding
    assert target.eq(PAD).any()
    return features, weight, bias, target


def plain(features, weight, bias, target, epsilon, kind, coefficient):
    """Sum over tokens of [sum over copies of smoothed cross entropy + M c D]."""
    copies = features.size(1)
    keep = target.ne(PAD)
    logits = (features @ weight.t() + bias)[keep]
    gold = target[keep]
    lprobs = logits.log_softmax(-1)
    off = epsilon / (V - 1)
    nll = -lprobs.gather(-1, gold[:, None, None].expand(-1, copies, 1))[..., 0]
    smoothed = (1 - epsilon - off) * nll - off * lprobs.sum(-1)
    apart = naive(kind, logits, gold).sum()
    full = nll.new_zeros(N, copies)
    full[keep] = nll
    return smoothed.sum() + copies * coefficient * apart, full.detach(), apart.detach()


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
@pytest.mark.parametrize("copies", [2, 3, 5])
def test_any_number_of_copies(kind, copies):
    *tensors, target = inputs(copies=copies)
    expected = plain(*tensors, target, 0.1, kind, 1.7)
    ours = consistent_smoothed_loss(*tensors, target, 0.1, kind, 1.7, PAD, chunk_tokens=7)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)
    for one, other in zip(
        gradients(ours[0], tensors), gradients(expected[0], tensors), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@KINDS
def test_one_copy_is_the_plain_chunked_loss(kind):
    features, weight, bias, target = inputs(copies=1)
    loss, nll, apart = consistent_smoothed_loss(
        features, weight, bias, target, 0.1, kind, 3.0, PAD, chunk_tokens=4
    )
    expected, expected_nll = chunked_smoothed_loss(features[:, 0], weight, bias, target, 0.1, PAD)
    assert apart == 0
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(nll[:, 0], expected_nll, rtol=1e-12, atol=1e-14)
    tensors = (features, weight, bias)
    for one, other in zip(gradients(loss, tensors), gradients(expected, tensors), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@KINDS
@pytest.mark.parametrize(
    "parts",
    [
        [range(0, 2), range(2, 4)],
        [range(0, 1), range(1, 4)],
        [slice(0, 1), slice(1, 3), slice(3, None)],
    ],
)
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
        inactive = [m for m in range(M) if m not in list(range(M))[part.start : part.stop]]
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


def test_of_padding_alone_it_is_zero_with_zero_gradients():
    features, weight, bias, target = inputs()
    for active in (None, range(1, 3)):
        loss, nll, apart = consistent_smoothed_loss(
            *(features, weight, bias, torch.full_like(target, PAD)),
            *(0.1, "rdrop", 2.0, PAD, active),
        )
        assert loss == 0 and apart == 0 and nll.shape == (N, M) and not nll.any()
        for gradient in gradients(loss, (features, weight, bias)):
            assert not gradient.any()


def test_autocast_casts_as_a_linear_layer_would():
    *tensors, target = inputs(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, *_ = consistent_smoothed_loss(*tensors, target, 0.1, "rdrop", 2.5, PAD)
    half = [x.bfloat16() for x in tensors]
    expected, *_ = consistent_smoothed_loss(*half, target, 0.1, "rdrop", 2.5, PAD)
    assert torch.equal(loss, expected) and loss.dtype == torch.float32
    for one, other in zip(gradients(loss, tensors), gradients(expected, tensors), strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)


@KINDS
def test_single_precision_is_near_double(kind):
    *exact, target = inputs()
    expected, *_ = consistent_smoothed_loss(*exact, target, 0.1, kind, 2.5, PAD)
    single = [x.detach().float().requires_grad_() for x in exact]
    ours, *_ = consistent_smoothed_loss(*single, target, 0.1, kind, 2.5, PAD)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-6, atol=0)
    for one, other in zip(gradients(ours, single), gradients(expected, exact), strict=True):
        assert (one.double() - other).norm() < 1e-5 * other.norm()


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


@KINDS
def test_whole_logits_never_exist_and_products_are_three(kind):
    features, weight, _, target = inputs()
    kept = int(target.ne(PAD).sum())
    with _LargestTensor() as seen:
        loss, *_ = consistent_smoothed_loss(
            features, weight, None, target, 0.1, kind, 2.0, PAD, chunk_tokens=2 * M
        )
        loss.backward()
    assert seen.elements <= max(2 * M * V, N * M * H) < N * M * V
    assert seen.products == 3 * -(-kept // 2)


def test_without_gradient_there_is_one_product():
    features, weight, _, target = inputs()
    with torch.no_grad(), _LargestTensor() as seen:
        loss, *_ = consistent_smoothed_loss(features, weight, None, target, 0.1, "jsd", 2.0, PAD)
    assert seen.products == 1 and not loss.requires_grad


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
        ({"bias": torch.zeros(3)}, "bias is (3,) for weight (4, 5); give (V,)"),
        ({"epsilon": 1.0}, "label smoothing 1.0 is outside [0, 1)"),
        ({"coefficient": -0.5}, "coefficient -0.5 is not a weight; give a number of 0 or more"),
        ({"chunk_tokens": 0}, "a chunk of 0 tokens holds none; give 1 or more"),
        ({"active": range(2, 4)}, "active copies are range(2, 4) of 3; give adjacent ones"),
        ({"active": range(0, 3, 2)}, "active copies are range(0, 3, 2) of 3; give adjacent ones"),
        ({"active": range(0)}, "active copies are range(0, 0) of 3; give adjacent ones"),
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
