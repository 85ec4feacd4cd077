"""Reach the fairseq model inside data-parallel wrappers."""

from fairseq.models import BaseFairseqModel
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the fairseq model inside ``model``, which may be that model itself."""
    while not isinstance(model, BaseFairseqModel) and hasattr(model, "module"):
        model = model.module
    return model
