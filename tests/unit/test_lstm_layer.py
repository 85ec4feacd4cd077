"""The LSTM layer against torch.nn.LSTM, and against itself where masks are concerned."""

import copy
import io

import pytest
import torch

from fairseq_bas.nn.fast_product import RepeatedProduct, fast_linear, product
from fairseq_bas.nn.fused_lstm import padded_lstm
from fairseq_bas.nn.lstm_layer import LSTMLayer
from fairseq_bas.nn.weight_drop import drop_weights

T, B, INPUT, H = 7, 6, 5, 4


def layer_and_lstm(dtype=torch.float64, **rates):
    torch.manual_seed(1)
    layer, lstm = LSTMLayer(INPUT, H, **rates).to(dtype), torch.nn.LSTM(INPUT, H, dtype=dtype)
    lstm.load_state_dict(layer.state_dict())
    return layer, lstm


def inputs(dtype=torch.float64):
    torch.manual_seed(2)
    shapes = (T, B, INPUT), (B, H), (B, H)
    x, h, c = (torch.randn(*s, dtype=dtype, requires_grad=True) for s in shapes)
    return x, (h, c)


def gradients(output, module, x):
    return torch.autograd.grad(output.sin().sum(), [x, *module.parameters()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eval_mode_equals_torch(dtype):
    layer, lstm = layer_and_lstm(dtype, weight_drop=0.5)
    x, (h, c) = inputs(dtype)
    ours, state = layer.eval()(x, (h, c))
    expected, after = lstm(x, (h[None], c[None]))
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(state, (after[0][0], after[1][0]))
    torch.testing.assert_close(gradients(ours, layer, x), gradients(expected, lstm, x))
    torch.testing.assert_close(layer(x)[0], lstm(x)[0])  # from zeros


def test_state_of_another_number_of_rows_is_refused():
    """Kernels would read beyond it."""
    layer, _ = layer_and_lstm()
    x, (h, c) = inputs()
    for state in ((h[1:], c[1:]), (h, c[:, 1:])):
        with pytest.raises(ValueError, match=r"does not go with \(6, 4\)"):
            layer(x, state)


def test_parameters_are_initialised_as_torch_does():
    torch.manual_seed(1)
    lstm = torch.nn.LSTM(INPUT, H)
    torch.manual_seed(1)
    for ours, expected in zip(LSTMLayer(INPUT, H).parameters(), lstm.parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_dropped_weights_equal_torch_with_those_weights():
    layer, lstm = layer_and_lstm(weight_drop=0.5)
    x, _ = inputs()
    ours = layer(x, generator=torch.Generator().manual_seed(3))[0]
    ones = torch.ones(4 * H, H, dtype=torch.float64)
    mask = drop_weights(ones, 0.5, torch.Generator().manual_seed(3))
    assert 0 < (mask == 0).sum() < mask.numel()
    with torch.no_grad():
        lstm.weight_hh_l0.mul_(mask)
    expected = lstm(x)[0]
    torch.testing.assert_close(ours, expected)
    of_ours, of_expected = (gradients(o, m, x) for o, m in ((ours, layer), (expected, lstm)))
    torch.testing.assert_close(of_ours[2], of_expected[2] * mask)
    torch.testing.assert_close(of_ours[1], of_expected[1])


def run_groups(layer, groups, x, seed=3, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return layer(x, num_groups=groups, generator=generator, **kwargs)


@pytest.mark.parametrize("zoneout", [0.0, 0.5])
def test_groups_are_rows_modulo_groups_with_masks_of_their_own(zoneout):
    layer, _ = layer_and_lstm(weight_drop=0.5, zoneout_cell=zoneout)
    row, _ = inputs()
    x = row[:, :1].expand(T, B, INPUT)  # all rows read the same
    torch.manual_seed(4)
    output, (h, c) = run_groups(layer, 3, x)
    assert torch.equal(h, output[-1]) and c.shape == (B, H)
    if not zoneout:  # which differs between rows anyway
        torch.testing.assert_close(output[:, :3], output[:, 3:])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (output[:, one] - output[:, other]).abs().max() > 1e-3
    torch.manual_seed(4)
    assert torch.equal(output, run_groups(layer, 3, x)[0])
    torch.manual_seed(4)
    assert not torch.equal(output, run_groups(layer, 3, x, seed=5)[0])


def test_first_group_has_the_mask_that_one_group_would_have():
    layer, _ = layer_and_lstm(weight_drop=0.5)
    x, state = inputs()
    one, of_one = run_groups(layer, 1, x, state=state)
    two, of_two = run_groups(layer, 2, x, state=state)
    torch.testing.assert_close(one[:, ::2], two[:, ::2])
    torch.testing.assert_close(of_one[1][::2], of_two[1][::2])
    assert (one[:, 1::2] - two[:, 1::2]).abs().max() > 1e-3


def test_training_draws_anew_and_evaluation_comes_back():
    layer, _ = layer_and_lstm(weight_drop=0.5, zoneout_hidden=0.2, zoneout_cell=0.2)
    x, _ = inputs()
    before = layer.eval()(x)[0]
    first, second = layer.train()(x)[0], layer(x)[0]
    assert not torch.equal(first, second) and not torch.equal(first, before)
    first.sum().backward()
    assert torch.equal(layer.eval()(x)[0], before)


@pytest.mark.parametrize("rates", [{"weight_drop": 0.5}, {"zoneout_hidden": 0.3}])
def test_copies_and_saved_layers_are_the_layer(rates):
    layer, _ = layer_and_lstm(**rates)
    x, _ = inputs()
    layer(x)[0].sum().backward()  # after a pass in training
    twin, file = copy.deepcopy(layer), io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    loaded = LSTMLayer(INPUT, H, **rates).double()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for other in (twin, loaded):
        assert torch.equal(other.eval()(x)[0], layer.eval()(x)[0])
    with torch.no_grad():
        twin.weight_hh_l0.zero_()
    assert not torch.equal(twin(x)[0], layer(x)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rates", [{"weight_drop": 0.5}, {"zoneout_hidden": 0.3}])
def test_half_precision_trains(dtype, rates):
    layer, _ = layer_and_lstm(torch.float32, **rates)
    x, _ = inputs(torch.float32)
    expected = layer.eval()(x)[0]
    half = copy.deepcopy(layer).to(dtype)
    torch.testing.assert_close(half(x.to(dtype))[0].float(), expected, rtol=0.05, atol=0.02)
    half.train()(x.to(dtype))[0].sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in half.parameters())


@pytest.mark.parametrize("padded", [None, 0, 2])
@pytest.mark.parametrize("rates", [{"weight_drop": 0.5}, {"zoneout_hidden": 0.3}])
def test_autocast_trains(rates, padded):
    """On CPUs that have a kernel for it and on others; rows as long as each other, and not."""
    layer, _ = layer_and_lstm(torch.float32, **rates)
    x, state = inputs(torch.float32)
    padding = None
    if padded is not None:
        padding = torch.zeros(T, B, dtype=torch.bool)
        padding[T - padded :, 0] = True
    expected, _ = layer.eval()(x, state, padding=padding)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = layer(x, state, padding=padding)
        torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.03)
        output, after = layer.train()(x, state, padding=padding)
        again, _ = layer(output.new_zeros(T, B, INPUT), after)
    (output.sum() + again.sum()).backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in layer.parameters())


def test_evaluation_is_the_expectation_of_one_zoneout_step():
    layer, _ = layer_and_lstm(zoneout_hidden=0.3, zoneout_cell=0.6)
    x, state = inputs()
    x, wide = x[:1], 4000
    many = x.repeat_interleave(wide, 1), tuple(s.repeat_interleave(wide, 0) for s in state)
    _, after = layer.train()(*many)
    _, expected = layer.eval()(x, state)
    for drawn, mean in zip(after, expected, strict=True):
        torch.testing.assert_close(
            drawn.unflatten(0, (B, wide)).mean(1), mean, rtol=0.05, atol=0.05
        )


PADDING = torch.tensor(
    [
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 1],
        [0, 0, 0, 1, 0, 0],
        [0, 1, 0, 1, 0, 1],
        [0, 1, 0, 1, 0, 0],
        [0, 1, 0, 1, 0, 1],
        [0, 1, 0, 1, 1, 0],
    ],
    dtype=torch.bool,
)  # none, right, left, all, the last step, here and there


def by_layer(layer, x, state):
    return layer.eval()(x, state, padding=PADDING)


def by_packing(layer, x, state):
    return padded_lstm(x, state, list(layer.parameters()), PADDING)


@pytest.mark.parametrize("run", [by_layer, by_packing])
def test_padded_steps_keep_the_state(run):
    layer, lstm = layer_and_lstm(weight_drop=0.5)
    x, (h, c) = inputs()
    output, after = run(layer, x, (h, c))
    for b in range(B):
        kept = ~PADDING[:, b]
        state = h[None, b : b + 1], c[None, b : b + 1]
        expected = x.new_zeros(0, H)
        if kept.any():
            expected, state = lstm(x[kept, b : b + 1], state)
            expected = expected.squeeze(1)
        torch.testing.assert_close(output[kept, b], expected)
        torch.testing.assert_close(after[0][b], state[0].flatten())
        torch.testing.assert_close(after[1][b], state[1].flatten())
        held = torch.cat([h[b : b + 1], output[:-1, b]])
        assert torch.equal(output[~kept, b], held[~kept])


def test_gradient_through_padding_is_the_same_either_way():
    layer, _ = layer_and_lstm()
    x, state = inputs()
    ours, packed = (run(layer, x, state)[0] for run in (by_layer, by_packing))
    torch.testing.assert_close(gradients(ours, layer, x), gradients(packed, layer, x))


def test_padded_steps_keep_the_state_under_zoneout_masks():
    layer, _ = layer_and_lstm(zoneout_hidden=0.5, zoneout_cell=0.5)
    x, (h, c) = inputs()
    output, after = layer(x, (h, c), padding=PADDING)
    held = torch.cat([h[None], output[:-1]])
    assert torch.equal(output[PADDING], held[PADDING])
    assert torch.equal(after[0][3], h[3]) and torch.equal(after[1][3], c[3])  # all padding
    changed = (output != held)[~PADDING].double().mean().item()
    assert changed == pytest.approx(0.5, abs=0.15)


def test_padded_groups_fit_together():
    layer, _ = layer_and_lstm(weight_drop=0.5)
    x, state = inputs()
    full, _ = run_groups(layer, 2, x, state=state)
    padded, _ = run_groups(layer, 2, x, state=state, padding=torch.zeros(T, B, dtype=torch.bool))
    torch.testing.assert_close(full, padded)


def test_onednn_products_equal_float64():
    torch.manual_seed(1)
    left, right, bias = torch.randn(6, 50), torch.randn(50, 33), torch.randn(33)
    truth = left.double() @ right.double()
    close = {"rtol": 1e-5, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(product(left, right), truth, **close)
    torch.testing.assert_close(product(left.t().contiguous().t(), right), truth, **close)
    weight = right.t().contiguous()
    for times in (1, 100):
        torch.testing.assert_close(RepeatedProduct(weight.t(), 6, times)(left), truth, **close)
        torch.testing.assert_close(RepeatedProduct(right, 6, times)(left), truth, **close)
    args = [x.requires_grad_() for x in (left.view(2, 3, 50), weight, bias)]
    twins = [x.detach().double().requires_grad_() for x in args]
    ours, plain = fast_linear(*args), torch.nn.functional.linear(*twins)
    torch.testing.assert_close(ours, plain, **close)
    for x, y in zip(
        torch.autograd.grad(ours.sin().sum(), args),
        torch.autograd.grad(plain.sin().sum(), twins),
        strict=True,
    ):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4, check_dtype=False)


def test_rates_out_of_range_are_refused():
    with pytest.raises(ValueError, match="give a probability"):
        LSTMLayer(INPUT, H, zoneout_cell=1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("training", [False, True])
def test_gpu_equals_torch_without_a_warning(training, recwarn):
    layer, lstm = layer_and_lstm(torch.float32, weight_drop=1e-9)
    layer, lstm = layer.cuda().train(training), lstm.cuda()
    x, _ = inputs(torch.float32)
    x = x.detach().cuda().requires_grad_()
    ours, expected = layer(x)[0], lstm(x)[0]
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradients(ours, layer, x), gradients(expected, lstm, x))
    assert not [w for w in recwarn if "contiguous" in str(w.message)]
