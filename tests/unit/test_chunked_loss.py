"""The chunked loss against its formula written out, fairseq's function, finite differences."""

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fairseq_bas.nn.chunked_loss import chunked_smoothed_loss

N, H, V, PAD = 23, 5, 11, 1


def case(dtype=torch.float64, with_bias=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(N, H, generator=generator, dtype=torch.float64)
    weight = torch.randn(V, H, generator=generator, dtype=torch.float64)
    bias = torch.randn(V, generator=generator, dtype=torch.float64) if with_bias else None
    target = torch.randint(0, V, (N,), generator=generator)
    target[:4] = PAD
    leaves = [x if x is None else x.to(dtype).requires_grad_() for x in (features, weight, bias)]
    return *leaves, target


def gradients(loss, leaves):
    return torch.autograd.grad(loss, [x for x in leaves if x is not None])


def brute_force(features, weight, bias, target, epsilon):
    """Add up the published formula token by token, symbol by symbol."""
    logits = features @ weight.t() + (0 if bias is None else bias)
    smooth = epsilon / (V - 1)
    loss, nll = 0.0, []
    for token in range(N):
        if target[token] == PAD:
            nll.append(0.0)
            continue
        log_p = [z - logits[token].exp().sum().log() for z in logits[token]]
        gold = -log_p[target[token]]
        loss = loss + (1 - epsilon - smooth) * gold + smooth * sum(-lp for lp in log_p)
        nll.append(gold.item())
    return loss, torch.tensor(nll, dtype=torch.float64)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 7, 19, 100])
def test_value_and_gradients_equal_brute_force(epsilon, with_bias, chunk):
    *leaves, target = case(with_bias=with_bias)
    loss, nll = chunked_smoothed_loss(*leaves, target, epsilon, PAD, chunk)
    truth, nll_truth = brute_force(*leaves, target, epsilon)
    torch.testing.assert_close(loss, truth, rtol=1e-12, atol=0)
    torch.testing.assert_close(nll, nll_truth, rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(gradients(3 * loss, leaves), gradients(3 * truth, leaves), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert not nll.requires_grad


def test_equals_fairseqs_function():
    *leaves, target = case()
    logits = F.linear(*leaves)
    theirs, nll_sum = label_smoothed_nll_loss(logits.log_softmax(-1), target, 0.1, PAD)
    ours, nll = chunked_smoothed_loss(*leaves, target, 0.1, PAD, chunk_tokens=6)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(nll.sum(), nll_sum, rtol=1e-12, atol=0)


def test_gradcheck():
    *leaves, target = case()
    assert torch.autograd.gradcheck(
        lambda f, w, b: chunked_smoothed_loss(f, w, b, target, 0.1, PAD, 4)[0], leaves
    )


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)]
)
def test_lower_precision_is_close_to_float64(dtype, limit):
    *leaves, target = case(dtype)
    *truth, _ = case()
    loss, nll = chunked_smoothed_loss(*leaves, target, 0.1, PAD, 6)
    assert loss.dtype == nll.dtype == torch.float32
    exact = chunked_smoothed_loss(*truth, target, 0.1, PAD)[0]
    torch.testing.assert_close(loss.double(), exact, rtol=limit, atol=0)
    for ours, theirs in zip(gradients(loss, leaves), gradients(exact, truth), strict=True):
        assert ours.dtype == dtype
        assert (ours.double() - theirs).norm() < limit * theirs.norm()


def test_confident_wrong_scores_do_not_overflow():
    """Scores of +-500: exp overflows in float32 unless the largest is taken off first."""
    features = torch.tensor([[500.0], [-500.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [0.0], [-1.0]], requires_grad=True)
    loss, nll = chunked_smoothed_loss(features, weight, None, torch.tensor([2, 2]), 0.0)
    torch.testing.assert_close(nll, torch.tensor([1000.0, 0.0]))
    assert all(g.isfinite().all() for g in gradients(loss, (features, weight)))


def test_tied_weight_adds_up_with_its_use_as_embedding():
    *_, target = case()
    weight = case()[1]

    def loss(output):
        features = F.embedding(target, weight)
        return output(features, weight)

    ours = loss(lambda f, w: chunked_smoothed_loss(f, w, None, target, 0.1, PAD, 6)[0])
    plain = loss(
        lambda f, w: label_smoothed_nll_loss(F.linear(f, w).log_softmax(-1), target, 0.1, PAD)[0]
    )
    torch.testing.assert_close(*(gradients(x, [weight])[0] for x in (ours, plain)))


class _LargestTensor(TorchDispatchMode):
    """Watch every tensor that any operation makes; count matrix products."""

    def __init__(self):
        super().__init__()
        self.elements, self.products = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        self.products += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        return out


def test_full_logits_never_exist_and_products_are_three():
    *leaves, target = case(with_bias=False)
    with _LargestTensor() as seen:
        loss, _ = chunked_smoothed_loss(*leaves, target, 0.1, PAD, chunk_tokens=4)
        loss.backward()
    chunks = -(-int(target.ne(PAD).sum()) // 4)
    assert seen.elements <= max(4 * V, V * H, N * H) < N * V
    assert seen.products == 3 * chunks


def test_no_gradient_no_extra_products():
    *leaves, target = case(with_bias=False)
    with torch.no_grad(), _LargestTensor() as seen:
        loss, _ = chunked_smoothed_loss(*leaves, target, 0.1, PAD, chunk_tokens=100)
    assert seen.products == 1
    assert not loss.requires_grad


def test_only_padding_and_double_backward():
    *leaves, _ = case()
    loss, nll = chunked_smoothed_loss(*leaves, torch.full((N,), PAD), 0.1, PAD)
    assert loss == 0 and not nll.any()
    assert not any(g.any() for g in gradients(loss, leaves))
    *leaves, target = case()
    loss, _ = chunked_smoothed_loss(*leaves, target, 0.1, PAD)
    (gradient,) = torch.autograd.grad(loss**2, leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
