"""The optimizer against torch's SGD and ASGD in float64, the trigger against a plain loop."""

import math
import random

import pytest
import torch

from fairseq_bas.optim.nt_asgd import NTASGD

LR, DECAY = 0.3, 0.01


def some_weights(seed=0):
    torch.manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape).double()) for shape in ((4, 3), (3,), (1,))]


def set_gradients(weights, update):
    """Set gradients that depend on the weights; the last weight is unused before update 6."""
    generator = torch.Generator().manual_seed(update)
    for index, weight in enumerate(weights):
        target = torch.randn(weight.shape, generator=generator).double()
        weight.grad = None if index == 2 and update < 6 else weight.detach() - target


def run(weights, optimizer, updates, after=lambda update: None):
    """Return the weights after each update, detached."""
    iterates = []
    for update in updates:
        set_gradients(weights, update)
        optimizer.step()
        iterates.append([w.detach().clone() for w in weights])
        after(update)
    return iterates


def copies(weights):
    return [w.detach().clone() for w in weights]


def same_bits(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def start_at(optimizer, update, trigger=7):
    if update == trigger:
        optimizer.observe(1.0)
        assert optimizer.observe(2.0)


def test_iterates_are_those_of_sgd_and_the_average_is_their_mean():
    ours, theirs = some_weights(), some_weights()
    optimizer = NTASGD(ours, LR, DECAY, nonmono=0)
    evaluated = {}

    def after(update):
        start_at(optimizer, update)
        raw = copies(ours)
        assert optimizer.use_average() is (update > 7)
        assert not optimizer.use_average()  # a second call finds the average in place
        evaluated[update] = copies(ours)
        assert optimizer.use_iterate() is (update > 7)
        assert same_bits(ours, raw)

    iterates = run(ours, optimizer, range(20), after)
    plain = run(theirs, torch.optim.SGD(theirs, LR, weight_decay=DECAY), range(20))
    assert all(same_bits(a, b) for a, b in zip(iterates, plain, strict=True))
    for update in range(20):
        first = 8 if update > 7 else update  # before the trigger the weights themselves
        means = [torch.stack(w).mean(0) for w in zip(*plain[first : update + 1], strict=True)]
        torch.testing.assert_close(evaluated[update], means, rtol=1e-13, atol=1e-13)


@pytest.fixture
def double_precision():
    """ASGD keeps its step length and its weight of the mean in torch's default precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_average_is_that_of_torchs_asgd_and_the_first_iterate(double_precision):
    """ASGD's mean of k iterates lacks the first: k times ours = first + (k - 1) times ASGD's."""
    ours, theirs = some_weights(), some_weights()
    optimizer = NTASGD(ours, LR, DECAY, average_now=True)
    asgd = torch.optim.ASGD(theirs, LR, lambd=0, t0=0, weight_decay=DECAY)
    first = run(ours, optimizer, range(6, 30))[0]
    run(theirs, asgd, range(6, 30))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    optimizer.use_average()
    expected = [(w + 23 * asgd.state[p]["ax"]) / 24 for w, p in zip(first, theirs, strict=True)]
    torch.testing.assert_close(copies(ours), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("power", [0, 0.5, 8])
def test_late_iterates_count_by_the_published_weights(power, double_precision):
    """Iterate i of k counts as gamma(i + p) / gamma(i), in float64."""
    ours = some_weights()
    optimizer = NTASGD(ours, LR, DECAY, average_now=True, average_power=power)
    iterates = run(ours, optimizer, range(6, 30))
    optimizer.use_average()
    counts = torch.tensor(
        [math.gamma(i + power) / math.gamma(i) for i in range(1, 25)], dtype=torch.float64
    )
    stacked = [torch.stack(w) for w in zip(*iterates, strict=True)]
    expected = [torch.tensordot((counts / counts.sum()).to(w), w, 1) for w in stacked]
    torch.testing.assert_close(copies(ours), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("power", [-1, math.inf, math.nan])
def test_weights_of_the_average_that_are_none_are_refused(power):
    with pytest.raises(ValueError, match="average_power"):
        NTASGD(some_weights(), LR, average_power=power)


def trigger_index(scores, nonmono, maximize):
    """Return the validation that starts averaging, by the definition and nothing else."""
    for index, score in enumerate(scores):
        for earlier in range(index - nonmono):
            if score < scores[earlier] if maximize else score > scores[earlier]:
                return index
    return None


def test_trigger_agrees_with_a_plain_loop_on_random_histories():
    generator = random.Random(3)
    found = set()
    for _ in range(2000):
        nonmono, maximize = generator.randrange(7), generator.random() < 0.5
        scores = [generator.randrange(9) - 0.5 * step for step in range(generator.randrange(16))]
        scores = [-score for score in scores] if maximize else scores
        optimizer = NTASGD(some_weights(), LR, nonmono=nonmono)
        started = [index for index, s in enumerate(scores) if optimizer.observe(s, maximize)]
        expected = trigger_index(scores, nonmono, maximize)
        assert started == ([] if expected is None else [expected])
        assert optimizer.averaging is (expected is not None)
        found.add(expected)
    assert found >= {None, 1, 4, 8}


@pytest.mark.parametrize("maximize", [False, True])
def test_not_a_number_is_the_worst_result_and_does_not_stay_the_best(maximize):
    optimizer = NTASGD(some_weights(), LR, nonmono=1)
    assert not optimizer.observe(math.nan, maximize)
    assert not optimizer.observe(3.0, maximize)
    assert not optimizer.observe(3.0, maximize)
    assert optimizer.observe(math.nan, maximize)


@pytest.mark.parametrize("saved_at", [2, 7, 8, 15])
@pytest.mark.parametrize("evaluating", [False, True])
def test_state_round_trip_continues_bit_for_bit(tmp_path, saved_at, evaluating):
    ours = some_weights()
    optimizer = NTASGD(ours, LR, DECAY, nonmono=0)

    def after(update):
        if update == 1:
            optimizer.observe(1.0)
        if update == 7:
            assert optimizer.observe(2.0)

    whole = run(ours, optimizer, range(20), after)
    optimizer.use_average()

    first = some_weights()
    optimizer = NTASGD(first, LR, DECAY, nonmono=0)
    run(first, optimizer, range(saved_at + 1), after)
    if evaluating:
        optimizer.use_average()
    torch.save([first, optimizer.state_dict()], tmp_path / "state.pt")

    second, state = torch.load(tmp_path / "state.pt", weights_only=True)
    optimizer = NTASGD(second, lr=99, nonmono=0)
    optimizer.load_state_dict(state)
    optimizer.use_iterate()
    resumed = run(second, optimizer, range(saved_at + 1, 20), after)
    optimizer.use_average()
    assert all(same_bits(a, b) for a, b in zip(whole[saved_at + 1 :], resumed, strict=True))
    assert same_bits(ours, second)
    assert not same_bits(ours, whole[-1])


def test_average_now_on_resume_starts_there():
    first = some_weights()
    before = NTASGD(first, LR)
    run(first, before, range(6))
    optimizer = NTASGD(first, LR, average_now=True)
    optimizer.load_state_dict(before.state_dict())
    iterates = run(first, optimizer, range(6, 9))
    optimizer.use_average()
    means = [torch.stack(w).mean(0) for w in zip(*iterates, strict=True)]
    torch.testing.assert_close(copies(first), means, rtol=1e-13, atol=1e-13)


def test_an_update_of_the_average_is_refused():
    weights = some_weights()
    optimizer = NTASGD(weights, LR, average_now=True)
    run(weights, optimizer, range(2))
    optimizer.use_average()
    with pytest.raises(RuntimeError, match="use_iterate"):
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_parameters_are_refused(dtype):
    with pytest.raises(ValueError, match="half precision"):
        NTASGD([torch.nn.Parameter(torch.zeros(2, dtype=dtype))], LR)
