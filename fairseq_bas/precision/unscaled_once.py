"""Take the loss scale of ``--amp`` out of gradients once, whatever the optimizer."""

from typing import Any

from ..optim.unscaled_step import UnscaledStep


def unscale_once(optimizer: Any) -> None:
    """Let torch's scaler step fairseq's own optimizers as it steps those of this plugin.

    fairseq divides gradients by the loss scale to clip them, and torch's scaler, which gets another
    object to step, divides them once more: plain SGD then hardly moves, and the eps of Adam grows
    with the scale. `UnscaledStep` says why and how.

    Args:
        optimizer: an ``AMPOptimizer``; changed in place.
    """
    inner = optimizer.fp32_optimizer
    if not isinstance(inner, UnscaledStep):
        kind = type(inner)
        inner.__class__ = type(kind.__name__, (UnscaledStep, kind), {"__module__": kind.__module__})
