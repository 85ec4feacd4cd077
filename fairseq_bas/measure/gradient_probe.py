"""Norms of micro-batch gradients, taken as the backward passes of an update make them.

A hook on a parameter sees the gradient of one backward pass before it is added to ``.grad`` and
before a data-parallel wrapper averages it over workers. So an update that is measured costs no
further pass: a norm per parameter and pass, and where copies run as several passes, also the sum of
their gradients.

Use, for an update that is measured::

    with GradientProbe(model.parameters()) as probe:
        for micro_batch in update:
            probe.begin(passes=len(passes))
            for replicas in passes:
                probe.next_pass()
                loss(micro_batch, replicas).backward()
            log.update(probe.finish(sample_size))
"""

import functools
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from .noise_scale import GradientMoments

_ROW = 4096


class GradientProbe:
    """Measure the gradient of each micro-batch and of each pass over its copies.

    Hooks are there from construction to `remove`; outside of a pass they do nothing. Nothing waits
    for the device. A parameter that a pass does not use counts as one with gradient zero. A
    parameter used in several places (tied embeddings) has one gradient, the sum.

    With one pass nothing is copied. With more, the sum over passes is kept until `finish`, in
    float32 for parameters of half precision: 4 bytes a parameter, on measured updates only.

    Args:
        parameters: all parameters of the model; those without gradient are left out.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(dict.fromkeys(p for p in parameters if p.requires_grad))
        self._handles = [
            parameter.register_hook(functools.partial(self._record, index))
            for index, parameter in enumerate(self._parameters)
        ]
        self._reset(passes=0)

    def _reset(self, passes: int) -> None:
        self._passes, self._pass, self._finished = passes, 0, passes == 0
        self._norms: list[Tensor] = []
        self._sums: dict[int, Tensor] = {}
        self._seen: set[int] = set()

    def begin(self, passes: int = 1) -> None:
        """Start a micro-batch, and drop what an unfinished one has left.

        Args:
            passes: P, backward passes over its copies that this worker makes, >= 1.

        Raises:
            ValueError: if ``passes`` is not positive.
        """
        if passes < 1:
            raise ValueError(f"a micro-batch of {passes} passes has no gradient; pass 1 or more")
        self._reset(passes)

    def next_pass(self) -> None:
        """Start a pass; call it before each of the P backward passes, the first included."""
        if self._finished or self._pass == self._passes:
            raise RuntimeError(
                f"pass {self._pass + 1} of a micro-batch of {self._passes}; "
                f"call begin() with the number of passes first"
            )
        self._pass += 1
        self._seen.clear()

    def _record(self, index: int, gradient: Tensor) -> None:
        if self._finished or self._pass == 0:
            return
        if index in self._seen:
            raise RuntimeError(
                f"a parameter of shape {tuple(gradient.shape)} got two gradients in one pass, of "
                f"which only the sum has a meaning; do not measure gradients together with "
                f"re-entrant activation checkpointing"
            )
        self._seen.add(index)
        gradient = gradient.detach()
        if gradient.is_sparse:
            gradient = gradient.coalesce()
        self._norms.append(_row_norms(gradient.values() if gradient.is_sparse else gradient))
        if self._passes > 1:
            self._add_to_sum(index, gradient)

    def _add_to_sum(self, index: int, gradient: Tensor) -> None:
        if index in self._sums:
            self._sums[index].add_(gradient)
        else:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            self._sums[index] = dense.to(_wide(dense.dtype), copy=True)

    def finish(self, weight: Tensor | float, loss_scale: Tensor | float = 1.0) -> dict[str, Tensor]:
        """Return what this micro-batch adds to the sums over micro-batches and workers.

        Args:
            weight: n_k, what the trainer counts the micro-batch as: distinct target tokens, or
                sentences; a number or a 0-dim tensor on any device. Zero for an empty or ignored
                micro-batch, which then counts for nothing.
            loss_scale: what the loss was multiplied by against underflow of half precision.

        Returns:
            0-dim float64 tensors on the device of the gradients: ``bas_micro`` (1),
            ``bas_weight`` (n_k), ``bas_square`` (``||s_k||^2 / n_k``) and, if P > 1, ``bas_within``
            (``sum_p ||P g_kp - s_k||^2 / (P - 1) / n_k``). `moments_from_log` reads their sums.

        Raises:
            RuntimeError: if fewer passes ran than were announced.
        """
        if self._finished or self._pass < self._passes:
            raise RuntimeError(
                f"{self._pass} of {self._passes} passes of the micro-batch have run; "
                f"call next_pass() before every backward pass"
            )
        squares = self._total(self._norms)
        result = {"bas_square": squares}
        if self._passes > 1:
            count = self._passes
            square = self._total([_row_norms(total) for total in self._sums.values()])
            # sum_p ||P g_p - s||^2 = P^2 sum_p ||g_p||^2 - P ||s||^2, as s is the sum of the g_p.
            within = (count * count * squares - count * square).clamp(min=0) / (count - 1)
            result = {"bas_square": square, "bas_within": within}
        self._reset(passes=0)
        return _weighted(result, weight, loss_scale)

    def _total(self, norms: list[Tensor]) -> Tensor:
        """Return the sum of squares of all norms."""
        if norms:
            total: Tensor = torch.cat(norms).double().square().sum()
            return total
        device = self._parameters[0].device if self._parameters else None
        return torch.zeros((), dtype=torch.float64, device=device)

    def remove(self) -> None:
        """Take all hooks away and free the sums; the probe then records nothing more."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._reset(passes=0)

    def __enter__(self) -> "GradientProbe":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _row_norms(tensor: Tensor) -> Tensor:
    """Return the norms of slices of a tensor, (rows,), whose squares add up to its squared norm.

    On a CPU, torch adds the squares of a float32 tensor one after the other, and ten million of
    them come out 0.1 % too small; short rows lose nothing.
    """
    wide = _wide(tensor.dtype)
    if tensor.device.type != "cpu" or tensor.numel() <= _ROW:
        norm: Tensor = torch.linalg.vector_norm(tensor, dtype=wide)
        return norm.reshape(1)
    flat = tensor.reshape(-1)
    whole = flat.numel() // _ROW * _ROW
    rows: Tensor = torch.linalg.vector_norm(flat[:whole].view(-1, _ROW), dim=1, dtype=wide)
    return torch.cat([rows, torch.linalg.vector_norm(flat[whole:], dtype=wide).reshape(1)])


def _weighted(
    squares: dict[str, Tensor], weight: Tensor | float, loss_scale: Tensor | float
) -> dict[str, Tensor]:
    """Divide by n_k and the square of the loss scale; return zeros where n_k is 0."""
    like = squares["bas_square"]
    if isinstance(weight, Tensor):
        tokens = weight.detach().to(like)
    else:  # filled on the device: copying a number there would wait for it
        tokens = torch.full_like(like, weight)
    present = tokens > 0
    divisor = torch.where(present, tokens, 1) * loss_scale * loss_scale
    zero = torch.zeros_like(like)
    sums = {key: torch.where(present, value / divisor, zero) for key, value in squares.items()}
    return {"bas_micro": present.double(), "bas_weight": torch.where(present, tokens, zero), **sums}


def moments_from_log(sums: Mapping[str, float | Tensor]) -> GradientMoments:
    """Read the sums of `GradientProbe.finish` over micro-batches and workers.

    Args:
        sums: a logging output, or the sum of several; other entries are ignored.

    Returns:
        The moments, zero where nothing was measured.

    >>> moments_from_log({"bas_micro": 2.0, "bas_weight": 90.0, "bas_square": 4.0, "loss": 1.0})
    GradientMoments(micro_batches=2.0, tokens=90.0, square=4.0, within=None)
    """
    within = sums.get("bas_within")
    return GradientMoments(
        float(sums.get("bas_micro", 0)),
        float(sums.get("bas_weight", 0)),
        float(sums.get("bas_square", 0)),
        None if within is None else float(within),
    )
