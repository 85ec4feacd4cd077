"""Say who shares the masks that a language model draws once a forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from .unwrap import unwrapped


def draws_forward_masks(model: nn.Module) -> bool:
    """Tell whether a model has masks of weights or word types that can be shared or not."""
    return hasattr(getattr(unwrapped(model), "decoder", None), "mask_groups")


@contextmanager
def forward_masks(model: nn.Module, groups: int, seed: int | None) -> Iterator[None]:
    """Let copies draw masks of their own, or all passes of an update the same ones.

    Args:
        model: a fairseq model, wrapped or not; one without such masks is left alone.
        groups: 1 for one mask for all rows, R for one for each copy.
        seed: seed of the masks; None for torch's generator, which differs between passes.
    """
    if not draws_forward_masks(model):
        yield
        return
    decoder = unwrapped(model).decoder
    decoder.mask_groups, decoder.mask_seed = groups, seed
    try:
        yield
    finally:
        decoder.mask_groups, decoder.mask_seed = 1, None
