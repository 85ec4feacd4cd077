"""Noise and consistency on CUDA: the same numbers as on the CPU, and training that runs."""

import pytest
import torch

from fairseq_bas.nn.consistent_loss import consistent_smoothed_loss
from fairseq_bas.nn.divergence import DIVERGENCES
from fairseq_bas.noise.keyed import row_keys, uniform
from fairseq_bas.noise.pipeline import NoisePipeline
from fairseq_bas.noise.policy import parse_noise
from tests.dist.test_resume import ALL_NOISE
from tests.processes import json_log, run_cli
from tests.toys import tiny_transformer
from tests.unit.test_noise_token import VOCABULARY, batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def test_draws_and_token_noise_are_those_of_the_cpu():
    policy = parse_noise("drop=0.2,mask=0.1,replace=0.1,shuffle=3,switchout=1", "f", "source")
    _, padded, ids, replicas = batch(50, 3, True)
    results = []
    for device in ("cpu", "cuda"):
        keys = row_keys(1, "source_noise", 2, ids.to(device), replicas.to(device))
        pipeline = NoisePipeline(policy, VOCABULARY)
        noisy = pipeline.tokens(padded.to(device), keys, 3, True).tokens
        results.append((uniform(keys.copy, "x", 9).cpu(), noisy.cpu()))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_consistency_is_that_of_the_cpu(kind, dtype):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 3, 16, generator=generator).double()
    weight = torch.randn(50, 16, generator=generator).double()
    target = torch.randint(50, (40,), generator=generator)
    losses, gradients = [], []
    for device, kept in (("cpu", torch.float64), ("cuda", dtype)):
        x = features.to(device, kept).requires_grad_()
        w = weight.to(device, kept).requires_grad_()
        loss, *_ = consistent_smoothed_loss(x, w, None, target.to(device), 0.1, kind, 2.0)
        gradients.append([g.double().cpu() for g in torch.autograd.grad(loss, (x, w))])
        losses.append(loss.item())
    limit = 1e-3 if dtype is torch.float32 else 0.05
    assert losses[1] == pytest.approx(losses[0], rel=limit)
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() < limit * one.norm()


@pytest.mark.parametrize("precision", [(), ("--fp16",), ("--amp",)])
def test_trains_with_every_noise(toy_pieces, tmp_path, precision):
    flags = tiny_transformer(toy_pieces, tmp_path, task="bas_translation")
    result = run_cli(
        "fairseq_cli.train",
        *(flag for flag in flags if flag != "--cpu"),
        *(*ALL_NOISE, "--bas-subword-model", toy_pieces.text / "spm.model"),
        *("--bas-replicas", 3, "--max-update", 12, *precision),
    )
    losses = [float(line["loss"]) for line in json_log(result, "train_inner")]
    assert len(losses) == 12 and all(0 < loss < 20 for loss in losses)
