"""Load a checkpoint that someone else may have made: verified, and by torch's safe loader."""

from typing import Any

import torch
from torch import Tensor

from .checkpoint import verify_checkpoint


def load_checked(path: str) -> dict[str, Any]:
    """Load by the safe loader, without reading the weights where the format allows that.

    Args:
        path: the file.

    Returns:
        What fairseq saved; ``model`` holds at least one tensor.

    Raises:
        ValueError: if the file is damaged, unsafe, or holds no model.
    """
    from . import register

    register()  # allows the types that checkpoints of fairseq hold
    verify_checkpoint(path)
    try:
        # Zip archives can stay on the disk until a weight is looked at; older files cannot.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:
        state = _load_whole(path)
    except Exception as error:
        raise _unreadable(path, error) from error
    weights = state.get("model") if isinstance(state, dict) else None
    if not isinstance(weights, dict) or not any(isinstance(w, Tensor) for w in weights.values()):
        raise ValueError(
            f"{path} holds no weights of a model; pass a checkpoint that fairseq-train wrote"
        )
    return state


def _load_whole(path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ValueError(
        f"{path} cannot be loaded ({reason}), so it is damaged; pass another checkpoint"
    )
