"""The bidirectional layer against torch's on packed sequences."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fairseq_bas.nn.bidirectional_lstm import BidirectionalLSTM

T, B, D, H = 6, 4, 3, 5
LENGTHS = (6, 4, 4, 1)


def layer_and_lstm(**rates):
    torch.manual_seed(1)
    layer = BidirectionalLSTM(D, H, **rates).double()
    lstm = torch.nn.LSTM(D, H, bidirectional=True, dtype=torch.float64)
    state = dict(layer.forwards.state_dict())
    state |= {f"{name}_reverse": x for name, x in layer.backwards.state_dict().items()}
    lstm.load_state_dict(state)
    return layer, lstm


def padded(rows, side):
    """Return a batch (T, B, D), padded with what must not be read, and its padding (T, B)."""
    x, padding = torch.full((T, B, rows[0].size(1)), 9.0).double(), torch.ones(T, B).bool()
    for b, row in enumerate(rows):
        where = slice(0, len(row)) if side == "right" else slice(T - len(row), T)
        x[where, b], padding[where, b] = row, False
    return x, padding


@pytest.mark.parametrize("side", ["right", "left"])
def test_equals_torch_on_packed_sequences(side):
    layer, lstm = layer_and_lstm()
    torch.manual_seed(2)
    rows = [torch.randn(length, D).double() for length in LENGTHS]
    packed = pack_padded_sequence(padded(rows, "right")[0], torch.tensor(LENGTHS))
    expected, _ = pad_packed_sequence(lstm(packed)[0])
    x, padding = padded(rows, side)
    ours = layer(x, padding)
    losses = []
    for output, starts in ((ours, side), (expected, "right")):
        parts = [
            output[:length, b] if starts == "right" else output[T - length :, b]
            for b, length in enumerate(LENGTHS)
        ]
        losses.append(torch.cat(parts))
    torch.testing.assert_close(*losses)
    gradients = [
        torch.autograd.grad(loss.sin().sum(), list(module.parameters()))
        for loss, module in zip(losses, (layer, lstm), strict=True)
    ]
    torch.testing.assert_close(*gradients)


def test_without_padding_equals_torch():
    layer, lstm = layer_and_lstm(weight_drop=0.5, zoneout_cell=0.0)
    x = torch.randn(T, B, D).double()
    torch.testing.assert_close(layer.eval()(x), lstm(x)[0])


def test_directions_have_masks_of_their_own():
    """The same weights, and a text that reads the same from both ends."""
    layer, _ = layer_and_lstm(weight_drop=0.5)
    layer.backwards.load_state_dict(layer.forwards.state_dict())
    half = torch.randn(T // 2, 1, D).double()
    palindrome = torch.cat([half, half.flip(0)])
    onward, back = layer.eval()(palindrome).chunk(2, dim=-1)
    torch.testing.assert_close(onward, back.flip(0))
    onward, back = layer.train()(palindrome).chunk(2, dim=-1)
    assert (onward - back.flip(0)).abs().max() > 1e-3


def test_groups_and_generator_reach_both_directions():
    layer, _ = layer_and_lstm(weight_drop=0.5)
    x = torch.randn(T, 1, D).double().expand(T, B, D)
    one, again, other = (
        layer(x, num_groups=2, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
    torch.testing.assert_close(one[:, :2], one[:, 2:])
    for direction in one.chunk(2, dim=-1):
        assert (direction[:, 0] - direction[:, 1]).abs().max() > 1e-3
