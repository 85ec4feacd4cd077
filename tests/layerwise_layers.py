"""What tests of layer-wise optimizers share: weights, gradients, and each layer as plain numbers.

The reference of an optimizer, in its test, updates one layer: a list of floats. Layers do not know
of each other, so that a row-wise matrix is as many layers as it has rows.
"""

import functools

import torch

SHAPES = [(4, 3), (5,), (2, 3, 2), (1,), (6, 2)]
STEPS = 50
ROWWISE = len(SHAPES) - 1  # the last weight, in which rows are often without a gradient
RATES = [0.02 / (1 + step / 10) for step in range(STEPS)]


def weights(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(shape, generator=generator).double() for shape in SHAPES]
    return [torch.nn.Parameter(w.to(dtype)) for w in drawn]


@functools.cache
def gradients():
    """Return a list of gradients for each step; None where a weight takes no part in it."""
    generator = torch.Generator().manual_seed(2)
    steps = []
    for step in range(STEPS):
        grads = [torch.randn(shape, generator=generator).double() + 0.3 for shape in SHAPES]
        absent = torch.rand(SHAPES[ROWWISE][0], generator=generator) < 0.6
        grads[ROWWISE][absent] = 0
        steps.append([None if index == 2 and step < 4 else g for index, g in enumerate(grads)])
    return steps


def groups(params, rowwise):
    """Return parameter groups in the order of the weights, the last one row-wise or not."""
    return [{"params": params[:ROWWISE]}, {"params": params[ROWWISE:], "rowwise": rowwise}]


def run(params, optimizer, steps=range(STEPS), rates=RATES):
    for step in steps:
        for p, gradient in zip(params, gradients()[step], strict=True):
            p.grad = None if gradient is None else gradient.to(p.dtype, copy=True)
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        optimizer.step()


def expect(params, optimizer, reference, rowwise=False, tolerance=1e-11):
    """Run the optimizer and compare each layer with ``reference(layer, gradients, is_matrix)``."""
    start = [p.detach().clone() for p in params]
    run(params, optimizer)
    for index, (before, after) in enumerate(zip(start, params, strict=True)):
        grads = [step[index] for step in gradients()]
        in_rows = rowwise and index == ROWWISE
        for row in range(len(before)) if in_rows else [slice(None)]:
            expected = reference(
                before[row].flatten().tolist(),
                [g if g is None else g[row].flatten().tolist() for g in grads],
                before.ndim > 1,
            )
            found = after.detach()[row].flatten()
            torch.testing.assert_close(
                found.double(),
                torch.tensor(expected, dtype=torch.float64),
                rtol=tolerance,
                atol=tolerance,
            )


def expect_same_bits_after_resume(make, tmp_path, rowwise=True):
    """Compare a run in one go with one that is saved and loaded in the middle."""
    whole = weights()
    run(whole, make(groups(whole, rowwise)))
    first = weights()
    optimizer = make(groups(first, rowwise))
    run(first, optimizer, range(23))
    torch.save([first, optimizer.state_dict()], tmp_path / "state.pt")
    second, state = torch.load(tmp_path / "state.pt", weights_only=True)
    optimizer = make(groups(second, not rowwise))
    optimizer.load_state_dict(state)
    run(second, optimizer, range(23, STEPS))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
