"""What a checkpoint must hold besides fairseq's state for exact resume in half precision.

fairseq saves weights of half precision and the state of the optimizer. It leaves out

* the float32 weights that ``--fp16`` and ``--bf16`` update, and rounds them at every restart,
* the counters of its loss scaler,
* all of torch's loss scaler, which ``--amp`` uses.

They are kept beside the optimizer's state, so that ``--reset-optimizer`` drops them too. fairseq
without this plugin passes them over.
"""

from typing import Any

import torch
from torch import Tensor

from .loss_scaler import ResumableLossScaler

KEY = "bas_precision"


def precision_state(optimizer: Any) -> dict[str, Any]:
    """Return what `load_precision_state` takes.

    Args:
        optimizer: fairseq's wrapper for half precision.

    Returns:
        ``scaler``, the state of the loss scaler, and ``weights``, float32 tensors; either only if
        there is one.
    """
    state: dict[str, Any] = {}
    scaler = optimizer.scaler
    if scaler is not None:
        state["scaler"] = {**scaler.state_dict(), "overflows": scaler.overflows}
    weights = float32_weights(optimizer)
    if weights:
        state["weights"] = [weight.detach() for weight in weights]
    return state


def load_precision_state(optimizer: Any, state: dict[str, Any]) -> None:
    """Restore the loss scaler and the float32 weights.

    The model must hold its weights already. Where they are not the rounded float32 ones, as in an
    average of checkpoints, they stay: the checkpoint's model is what the user asked for.

    Args:
        optimizer: fairseq's wrapper for half precision.
        state: what `precision_state` returned.
    """
    scaler, saved = optimizer.scaler, dict(state.get("scaler", {}))
    if scaler is not None and saved:
        scaler.overflows = saved.pop("overflows")
        if isinstance(scaler, ResumableLossScaler) or (saved and scaler.is_enabled()):
            scaler.load_state_dict(saved)
    weights = float32_weights(optimizer)
    for weight, exact in zip(weights, state.get("weights", []), strict=False):
        if weight.shape == exact.shape:
            _refine(weight.data, exact, _half_type(optimizer))


def float32_weights(optimizer: Any) -> list[Tensor]:
    """Return the float32 copies of weights of half precision that an optimizer updates."""
    weights = getattr(optimizer, "fp32_params", None)
    if weights is None:
        return []
    return list(weights.values()) if isinstance(weights, dict) else list(weights)


def _half_type(optimizer: Any) -> torch.dtype:
    dtype: torch.dtype = optimizer.fp16_params[0].dtype
    return dtype


def _refine(rounded: Tensor, exact: Tensor, dtype: torch.dtype) -> None:
    """Write ``exact`` over ``rounded`` wherever it rounds to it."""
    exact = exact.to(rounded)
    rounded.copy_(torch.where(exact.to(dtype).to(rounded.dtype) == rounded, exact, rounded))
