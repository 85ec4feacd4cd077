"""What a zoneout LSTM does with gates and states, all but its matrix products.

The formulas are those of ``zoneout``. Shapes: T time steps, B rows, H hidden.
"""

import torch
from torch import Tensor

Keep = Tensor | float | None
"""How much of the old state stays: a bool mask (T, B, H) or (T, B, 1), True where it stays; a
number or a floating-point tensor of that shape in [0, 1] for a share of it; None for nothing."""


def as_share(keep: Keep, dtype: torch.dtype) -> Keep:
    """Return a mask as ones and zeros: blending by them is many times faster on a CPU, and exact.

    >>> as_share(torch.tensor([True, False]), torch.float32), as_share(0.5, torch.float32)
    (tensor([1., 0.]), 0.5)
    """
    return keep.to(dtype) if isinstance(keep, Tensor) else keep


def share_at(share: Keep, t: int) -> Keep:
    """Return what stays at step ``t``."""
    return share[t] if isinstance(share, Tensor) else share


def step_forward(
    gates: Tensor,
    h: Tensor,
    c: Tensor,
    keep_h: Keep,
    keep_c: Keep,
    candidate: Tensor,
    new_h: Tensor,
    new_c: Tensor,
) -> None:
    """Do what a step does after its matrix product.

    Args:
        gates: (B, 4H), a[t]; overwritten by i, f, g, o.
        h: (B, H), h[t-1].
        c: (B, H), c[t-1].
        keep_h: the share of ``h`` that stays, (B, H) or (B, 1), a number or None; no bool.
        keep_c: the share of ``c`` that stays.
        candidate: (B, H), overwritten.
        new_h: (B, H), overwritten by h[t].
        new_c: (B, H), overwritten by c[t].
    """
    i, f, g, o = gates.chunk(4, dim=-1)
    gates[:, : 2 * c.size(1)].sigmoid_()
    g.tanh_()
    o.sigmoid_()
    target = new_c if keep_c is None else candidate
    torch.mul(f, c, out=target).addcmul_(i, g)
    _blend(c, target, keep_c, new_c)
    torch.tanh(target, out=candidate)
    torch.mul(o, candidate, out=new_h)
    _blend(h, new_h, keep_h, new_h)


def backward_factors(gates: Tensor, before: Tensor, keep_h: Keep) -> tuple[Tensor, Tensor]:
    """Return what the backward pass multiplies by, of all steps at once.

    Args:
        gates: (T, B, 4H), i, f, g, o.
        before: (T, B, H), the cells c[t-1].
        keep_h: the share of the hidden states that stays, no bool.

    Returns:
        d e / d a_i, d e / d a_f, d e / d a_g and d h / d a_o side by side, (T, B, 4H); and
        d h / d e, (T, B, H), where e stands for e[t] and h for h[t].
    """
    i, f, g, o = gates.chunk(4, dim=-1)
    factors = torch.empty_like(gates)
    of_i, of_f, of_g, of_o = factors.chunk(4, dim=-1)
    bounded = torch.mul(f, before).addcmul_(i, g).tanh_()
    torch.addcmul(i, i, i, value=-1, out=of_i).mul_(g)
    torch.addcmul(f, f, f, value=-1, out=of_f).mul_(before)
    torch.mul(g, g, out=of_g).neg_().add_(1).mul_(i)
    torch.addcmul(o, o, o, value=-1, out=of_o).mul_(bounded)
    through_h = bounded.square_().neg_().add_(1).mul_(o)
    if keep_h is not None:
        changed = 1 - keep_h
        of_o.mul_(changed)
        through_h.mul_(changed)
    return factors, through_h


def step_backward(
    grad_h: Tensor,
    grad_c: Tensor,
    grad_gates: Tensor,
    through_h: Tensor,
    forget: Tensor,
    keep_h: Keep,
    keep_c: Keep,
) -> tuple[Tensor | None, Tensor]:
    """Do what a step back in time does before its matrix product.

    Args:
        grad_h: (B, H), of h[t], from the output and from later steps.
        grad_c: (B, H), of c[t].
        grad_gates: (B, 4H), the factors of this step; overwritten by the gradient of a[t].
        through_h: (B, H), d h[t] / d e[t].
        forget: (B, H), f[t].
        keep_h: the share of h[t-1] that stays, (B, H) or (B, 1), a number or None; no bool.
        keep_c: the share of c[t-1] that stays.

    Returns:
        The part of the gradient of h[t-1] that does not go through the gates, (B, H), None for
        zeros; and the gradient of c[t-1], (B, H).
    """
    size = grad_h.size(1)
    if keep_c is None:
        grad_e = torch.addcmul(grad_c, grad_h, through_h)
        grad_c = grad_e * forget
    else:
        kept = grad_c * keep_c
        grad_e = torch.sub(grad_c, kept).addcmul_(grad_h, through_h)
        grad_c = kept.addcmul_(grad_e, forget)
    grad_gates[:, : 3 * size].unflatten(1, (3, size)).mul_(grad_e.unsqueeze(1))
    grad_gates[:, 3 * size :].mul_(grad_h)
    return None if keep_h is None else grad_h * keep_h, grad_c


def _blend(old: Tensor, new: Tensor, share: Keep, out: Tensor) -> None:
    """Write share * old + (1 - share) * new to ``out``, which may be ``new``."""
    if share is not None:
        torch.lerp(new, old, share, out=out)
