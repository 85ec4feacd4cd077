"""What the hooks record against gradients by autograd.grad, and a quadratic model in training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fairseq_bas.measure.gradient_probe import GradientProbe, moments_from_log
from fairseq_bas.measure.tracker import NoiseScaleTracker
from fairseq_bas.measure.two_level import between_variance, estimate

VOCABULARY, WIDTH, PASSES = 11, 6, 3


class Tied(nn.Module):
    """Embedding tied to the output, a layer that some passes skip, one that nothing uses."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.skipped = nn.Linear(WIDTH, WIDTH)
        self.unused = nn.Parameter(torch.ones(4))
        self.frozen = nn.Parameter(torch.ones(WIDTH), requires_grad=False)
        self.output = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.output.weight = self.embed.weight

    def forward(self, words, mask, skip):
        hidden = torch.tanh(self.hidden(self.embed(words)) * mask + self.frozen)
        return self.output(hidden if skip else self.skipped(hidden))


def loss_of_pass(model, words, number, passes=PASSES):
    """Return the summed loss of one pass, divided by the number of passes."""
    generator = torch.Generator().manual_seed(10 * number + len(words))
    mask = torch.randint(0, 2, (len(words), WIDTH), generator=generator).double() * 2
    logits = model(words, mask, skip=number == 1)
    targets = words.flip(0)
    return nn.functional.cross_entropy(logits, targets, reduction="sum") / passes


def micro_batches():
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(0, VOCABULARY, (size,), generator=generator) for size in (3, 17, 8)]


def flat_gradient(loss, model):
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in gradients])


def probed(probe, model, words, passes=PASSES, weight=None, scale=1.0):
    probe.begin(passes)
    for number in range(passes):
        probe.next_pass()
        (loss_of_pass(model, words, number, passes) * scale).backward()
    return probe.finish(len(words) if weight is None else weight, scale)


def as_numbers(log):
    return {key: value.item() for key, value in log.items()}


def brute_force(model, words, passes=PASSES):
    size = len(words)
    parts = [flat_gradient(loss_of_pass(model, words, p, passes), model) for p in range(passes)]
    total = sum(parts)
    numbers = {"bas_micro": 1, "bas_weight": size, "bas_square": total.dot(total).item() / size}
    if passes > 1:
        gaps = [passes * part - total for part in parts]
        within = sum(gap.dot(gap).item() for gap in gaps) / (passes - 1) / size
        numbers["bas_within"] = within
    return numbers


@pytest.mark.parametrize("passes", [1, PASSES])
def test_norms_are_those_of_autograd_and_the_gradient_stays_what_it_was(passes):
    model, plain = Tied().double(), Tied().double()
    with GradientProbe(model.parameters()) as probe:
        for words in micro_batches():
            found = as_numbers(probed(probe, model, words, passes))
            assert found == pytest.approx(brute_force(plain, words, passes), rel=1e-12)
    for words in micro_batches():
        for number in range(passes):
            loss_of_pass(plain, words, number, passes).backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad)


def test_copies_that_are_alike_have_no_variance_within():
    model, words = Tied().double(), micro_batches()[1]
    with GradientProbe(model.parameters()) as probe:
        probe.begin(passes=2)
        for _ in range(2):
            probe.next_pass()
            loss_of_pass(model, words, 0, passes=2).backward()
        log = as_numbers(probe.finish(len(words)))
    assert 0 <= log["bas_within"] < 1e-12 * log["bas_square"]


def test_logs_add_up_to_the_moments_of_the_update():
    model = Tied().double()
    with GradientProbe(model.parameters()) as probe:
        logs = [probed(probe, model, words) for words in micro_batches()]
    sums = {key: sum(log[key] for log in logs) for key in logs[0]}
    truth = [brute_force(model, words) for words in micro_batches()]
    moments = moments_from_log({**sums, "loss": 3.0})
    assert (moments.micro_batches, moments.tokens) == (3, 28)
    assert moments.square == pytest.approx(sum(t["bas_square"] for t in truth), rel=1e-12)
    assert moments.within == pytest.approx(sum(t["bas_within"] for t in truth), rel=1e-12)
    assert moments_from_log({"loss": 3.0}).micro_batches == 0


@pytest.mark.parametrize("weight", [0, 0.0, torch.tensor(0), torch.tensor(0.0)])
def test_an_empty_micro_batch_counts_for_nothing(weight):
    model, words = Tied().double(), micro_batches()[0]
    with GradientProbe(model.parameters()) as probe:
        log = as_numbers(probed(probe, model, words, weight=weight))
        probe.begin()
        probe.next_pass()
        none_at_all = as_numbers(probe.finish(weight))
    assert log == dict.fromkeys(("bas_micro", "bas_weight", "bas_square", "bas_within"), 0)
    assert none_at_all == dict.fromkeys(("bas_micro", "bas_weight", "bas_square"), 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [512.0, torch.tensor(512.0)])
def test_half_precision_is_summed_wide_and_the_loss_scale_is_taken_out(dtype, scale):
    weight = nn.Parameter(torch.zeros(5000, dtype=dtype))
    torch.manual_seed(6)
    gradients = [(torch.randn(5000) * 100).to(dtype) for _ in range(2)]
    with GradientProbe([weight]) as probe:
        probe.begin(passes=2)
        for gradient in gradients:
            probe.next_pass()
            (weight * gradient).sum().backward()
        log = as_numbers(probe.finish(7, scale))
    first, second = (gradient.double() / 512 for gradient in gradients)
    total = first + second
    within = (2 * first - total).square().sum() + (2 * second - total).square().sum()
    assert log["bas_square"] == pytest.approx(total.square().sum().item() / 7, rel=1e-5)
    assert log["bas_within"] == pytest.approx(within.item() / 7, rel=1e-5)


def test_norms_of_large_tensors_keep_six_digits():
    torch.manual_seed(7)
    weight, factor = nn.Parameter(torch.zeros(3_000_001)), torch.randn(3_000_001)
    truth = factor.double().square().sum().item()
    with GradientProbe([weight]) as probe:
        probe.begin()
        probe.next_pass()
        (weight * factor).sum().backward()
        assert as_numbers(probe.finish(1))["bas_square"] == pytest.approx(truth, rel=1e-6)


def test_sparse_gradients_have_the_norms_of_dense_ones():
    logs, words = [], torch.tensor([1, 4, 1, 2])
    for sparse in (True, False):
        torch.manual_seed(8)
        table = nn.Embedding(6, 3, sparse=sparse)
        with GradientProbe(table.parameters()) as probe:
            probe.begin(passes=2)
            for number in range(2):
                probe.next_pass()
                table(words[number:]).pow(3).sum().backward()
            logs.append(as_numbers(probe.finish(4)))
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)


class NoReading(TorchDispatchMode):
    """Refuse to bring a number of a tensor to the host, which would wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("weight", [5, torch.tensor(5)])
def test_nothing_waits_for_the_device(weight):
    model, words = Tied().double(), micro_batches()[0]
    with GradientProbe(model.parameters()) as probe, NoReading():
        probed(probe, model, words, weight=weight)
    with pytest.raises(AssertionError), NoReading():
        bool(torch.ones(()) > 0)


def test_hooks_are_silent_outside_of_a_micro_batch_and_gone_afterwards():
    model, words = Tied().double(), micro_batches()[0]
    probe = GradientProbe([*model.parameters(), *model.parameters()])  # given twice, hooked once
    for _ in range(2):
        loss_of_pass(model, words, 0).backward()
    first = as_numbers(probed(probe, model, words))
    assert first == pytest.approx(brute_force(model, words), rel=1e-12)
    for _ in range(2):
        loss_of_pass(model, words, 1).backward()
    assert as_numbers(probed(probe, model, words)) == first
    probe.begin(passes=2)  # an update that was given up
    probe.next_pass()
    loss_of_pass(model, words, 0).backward()
    assert as_numbers(probed(probe, model, words)) == first
    probe.remove()
    assert not any(p._backward_hooks for p in model.parameters())


def test_calls_out_of_order_are_refused():
    model, words = Tied().double(), micro_batches()[0]
    probe = GradientProbe(model.parameters())
    with pytest.raises(ValueError, match="0 passes"):
        probe.begin(passes=0)
    with pytest.raises(RuntimeError, match="call begin"):
        probe.next_pass()
    probe.begin(passes=2)
    probe.next_pass()
    with pytest.raises(RuntimeError, match="1 of 2 passes"):
        probe.finish(3)
    loss_of_pass(model, words, 0).backward()
    with pytest.raises(RuntimeError, match="two gradients in one pass"):
        loss_of_pass(model, words, 0).backward()
    probe.next_pass()
    with pytest.raises(RuntimeError, match="pass 3 of a micro-batch of 2"):
        probe.next_pass()


class Quadratic(nn.Module):
    """Loss of token x: (w - x)' A A' (w - x) / 2, whose gradient is A A' (w - x)."""

    FACTOR = torch.tensor([[1.0, 0.2, 0.0], [0.0, 0.8, -0.3], [0.1, 0.0, 1.2]]).double()
    HESSIAN = FACTOR @ FACTOR.T

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.15, -0.12, 0.1]).double())

    def forward(self, tokens):
        return ((self.weight - tokens) @ self.FACTOR).square().sum() / 2

    def gradient(self):
        return self.HESSIAN @ self.weight.detach()  # tokens have mean zero


def interval_holds(differences, largest_half):
    half = 3.29 * np.std(differences, ddof=1) / np.sqrt(len(differences))
    return abs(np.mean(differences)) < half < largest_half


def test_a_quadratic_model_in_training_has_the_moments_of_its_closed_form():
    generator = torch.Generator().manual_seed(11)
    model, sizes, copies = Quadratic(), (40, 90, 400, 1000), 4
    data, noise = (2.0, 1.5, 1.8), (2.0, 1.0, 1.5)  # standard deviations by dimension
    t_b, t_w = (
        torch.trace(model.HESSIAN @ torch.tensor(s).double().diag() ** 2 @ model.HESSIAN).item()
        for s in (data, noise)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    tracker = NoiseScaleTracker(decay=0.99)

    def draw(size, spread):
        values = torch.randn(size, 3, generator=generator, dtype=torch.float64)
        return values * torch.tensor(spread)

    off = {"variance": [], "within": [], "between": [], "signal": []}
    for _ in range(200):
        optimizer.zero_grad()
        true_signal, logs = model.gradient().square().sum().item(), []
        with GradientProbe(model.parameters()) as probe:
            for size in sizes:
                tokens = draw(size, data)
                probe.begin(passes=2)
                for _ in range(2):  # two copies in each pass
                    probe.next_pass()
                    twice = torch.cat([tokens + draw(size, noise) for _ in range(copies // 2)])
                    (model(twice) / copies).backward()
                logs.append(probe.finish(size))
        model.weight.grad /= sum(sizes)
        sums = {key: sum(log[key] for log in logs) for key in logs[0]}
        squared = model.weight.grad.square().sum().item()
        found = estimate(moments_from_log(sums), squared, copies, passes=2)
        optimizer.step()
        tracker.observe(found)
        off["variance"].append(found.variance - t_b - t_w / copies)
        off["within"].append(found.within - t_w)
        off["between"].append(between_variance(found.variance, found.within, copies) - t_b)
        off["signal"].append(found.squared_gradient - true_signal)
    assert interval_holds(off["variance"], 0.15 * (t_b + t_w / copies))
    assert interval_holds(off["within"], 0.15 * t_w)
    assert interval_holds(off["between"], 0.2 * t_b)
    assert interval_holds(off["signal"], (t_b + t_w / copies) / sum(sizes))
    factor = (t_b + t_w) / (t_b + t_w / copies)
    assert tracker.effective_factor(copies) == pytest.approx(factor, rel=0.1)
    # It trained: the gradient is far smaller now, so the averages followed a moving truth.
    assert true_signal < 0.2 * Quadratic().gradient().square().sum()
