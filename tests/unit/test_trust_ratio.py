"""Norms, ratios and names, and what all layer-wise optimizers do alike."""

import copy
import math

import pytest
import torch

from fairseq_bas.optim import layerwise
from fairseq_bas.optim.lamb import LAMB
from fairseq_bas.optim.lars import LARS
from fairseq_bas.optim.novograd import NovoGrad
from fairseq_bas.optim.trust_ratio import (
    is_embedding,
    jointly,
    mean_by_group,
    module_group,
    norms,
    trust_ratios,
)
from tests.layerwise_layers import ROWWISE, gradients, groups, run, weights

MAKERS = [
    lambda p: LAMB(p, 0.1, weight_decay=0.1),
    lambda p: LARS(p, 0.1, weight_decay=0.1),
    lambda p: NovoGrad(p, 0.1, weight_decay=0.1),
]


def length(values):
    return math.sqrt(sum(value * value for value in values))


@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 3)])
def test_norms_of_rows(shape):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    found = norms([tensor, tensor[:2]], rowwise=True)
    assert found[0].shape == (shape[0],) + (1,) * (len(shape) - 1)
    expected = [length(row.flatten().tolist()) for row in tensor]
    assert found[0].flatten().tolist() == pytest.approx(expected, rel=1e-14)
    assert found[1].flatten().tolist() == pytest.approx(expected[:2], rel=1e-14)


def test_norm_of_a_large_float32_tensor_is_accurate():
    tensor = torch.rand(3_000_000, generator=torch.Generator().manual_seed(0))
    assert norms([tensor])[0].item() == pytest.approx(tensor.double().norm().item(), rel=1e-6)


def test_jointly_keeps_shapes_and_order():
    shapes = [(), (3, 1), (2, 1, 1), ()]
    first, second = ([torch.rand(shape) for shape in shapes] for _ in range(2))
    found = jointly(torch.sub, first, second)
    assert all(torch.equal(f, a - b) for f, a, b in zip(found, first, second, strict=True))


def test_ratio_is_one_where_a_norm_is_zero_and_never_infinite():
    weight, update = torch.tensor([0.0, 2.0, 0.0, 2.0]), torch.tensor([3.0, 0.0, 0.0, 0.5])
    assert trust_ratios([weight], [update])[0].tolist() == [1, 1, 1, 4]
    assert trust_ratios([weight], [update], clip=1.5)[0].tolist() == [1, 1, 1, 1.5]


def test_means_are_over_the_parameters_of_a_group():
    ratios = [torch.tensor(x) for x in (1.0, 2.0, 6.0)]
    found = mean_by_group(ratios, ["encoder", "decoder", "encoder"])
    assert found == {"encoder": 3.5, "decoder": 2.0}
    assert mean_by_group([], []) == {}


@pytest.mark.parametrize(
    ("name", "embedding", "group"),
    [
        ("encoder.embed_tokens.weight", True, "embedding"),
        ("module.decoder.embed_positions.weight", True, "embedding"),
        ("decoder.embed_out", True, "embedding"),
        ("encoder.layers.0.self_attn.k_proj.weight", False, "encoder"),
        ("module.decoder.layers.1.weight_hh_l0", False, "decoder"),
        ("decoder.output_projection.weight", False, "output"),
        ("decoder.fc_out.weight", False, "output"),
        ("decoder.adaptive_softmax.head.weight", False, "output"),
        ("projection.weight", False, "projection"),
    ],
)
def test_names(name, embedding, group):
    assert is_embedding(name) is embedding
    assert module_group(name) == group


def test_recorded_ratios_are_those_of_the_step():
    """Compare with the length of the step; rows count where they had a gradient."""
    params = weights()
    optimizer = LAMB(groups(params, rowwise=True), 1.0, eps=1e-30)
    before = [p.detach().clone() for p in params]
    run(params, optimizer, steps=[5], rates=[1.0] * 6)
    ratios = optimizer.ratios()
    assert list(ratios) == [p for p in params if p.ndim > 1]
    for index, (p, old) in enumerate(zip(params, before, strict=True)):
        if p.ndim < 2:
            continue
        # The first update of Adam is a sign for each element.
        expected = old.norm() / math.sqrt(old.numel())
        if index == ROWWISE:
            seen = [i for i, row in enumerate(gradients()[5][index]) if row.norm() > 0]
            assert 0 < len(seen) < len(old)
            expected = torch.stack([old[i].norm() / math.sqrt(2) for i in seen]).mean()
        assert ratios[p].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("rowwise", [False, True])
def test_cutting_into_portions_changes_nothing(make, rowwise, monkeypatch):
    results = []
    for together in (1, 14, 2**30):
        monkeypatch.setattr(layerwise, "_TOGETHER", {"cpu": together})
        params = weights()
        run(params, make(groups(params, rowwise)), range(6))
        results.append(params)
    for params in results[1:]:
        torch.testing.assert_close(params, results[0], rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("make", MAKERS)
def test_gradients_stay_as_they_are_and_copies_go_on(make):
    params = weights()
    optimizer = make(params)
    run(params, optimizer, range(6))
    for p, gradient in zip(params, gradients()[5], strict=True):
        assert torch.equal(p.grad, gradient)
    twin, twins_optimizer = copy.deepcopy((params, optimizer))
    run(params, optimizer, range(6, 9))
    run(twin, twins_optimizer, range(6, 9))
    assert all(torch.equal(a, b) for a, b in zip(params, twin, strict=True))


@pytest.mark.parametrize("make", MAKERS)
def test_sparse_gradients_are_refused(make):
    embedding = torch.nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        make(embedding.parameters()).step()


def test_closure_is_evaluated_with_gradients():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = LAMB([weight], lr=0.1)

    def closure():
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 4.0
    assert weight[0, 0].item() == pytest.approx(0.9, rel=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("rowwise", [False, True])
def test_gpu_agrees_with_the_cpu_and_is_never_waited_for(make, rowwise):
    ours = weights(torch.float32)
    theirs = [torch.nn.Parameter(p.detach().cuda()) for p in ours]
    optimizer = make(groups(theirs, rowwise))
    run(ours, make(groups(ours, rowwise)))
    for step, all_of_step in enumerate(gradients()):
        for p, gradient in zip(theirs, all_of_step, strict=True):
            p.grad = None if gradient is None else gradient.float().cuda()
        for group in optimizer.param_groups:
            group["lr"] = 0.02 / (1 + step / 10)
        torch.cuda.set_sync_debug_mode("error")
        optimizer.step()
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close([p.cpu() for p in theirs], ours, rtol=1e-4, atol=1e-5)
