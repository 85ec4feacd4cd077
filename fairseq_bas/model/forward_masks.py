"""Say who shares the masks of weights and word types that a model draws once a forward pass."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from .unwrap import unwrapped

PARTS = ("decoder", "encoder")


class ForwardMasks:
    """Give an encoder or a decoder the attributes that ``forward_masks`` sets.

    Attributes:
        mask_groups: copies of a sentence in a pass that each get weight and word-type masks of
            their own, row b those of copy b % mask_groups; 1 for one mask for all rows.
        mask_seed: seed of those masks; None to draw them from torch's generator.
    """

    mask_groups: int = 1
    mask_seed: int | None = None

    def mask_generator(self, device: torch.device) -> torch.Generator | None:
        """Return what draws the masks of a pass; None for torch's own generator."""
        if self.mask_seed is None:
            return None
        return torch.Generator(device).manual_seed(self.mask_seed)


def draws_forward_masks(model: nn.Module) -> bool:
    """Tell whether a model has masks of weights or word types that can be shared or not."""
    return bool(_parts(model))


def copies_with_masks(split: str, rows_per_sentence: int) -> dict[str, int]:
    """Return how many copies of a sentence each part of a model sees.

    Args:
        split: where copies split, a value of ``--bas-share``.
        rows_per_sentence: R, copies of each sentence in a pass.

    >>> copies_with_masks("encoder", 4)
    {'encoder': 1, 'decoder': 4}
    """
    return {
        "encoder": rows_per_sentence if split == "input" else 1,
        "decoder": rows_per_sentence if split != "output" else 1,
    }


@contextmanager
def forward_masks(
    model: nn.Module, groups: Mapping[str, int] | None = None, seed: int | None = None
) -> Iterator[None]:
    """Let copies draw masks of their own, or all passes of an update the same ones.

    Args:
        model: a fairseq model, wrapped or not; one without such masks is left alone.
        groups: for ``encoder`` and ``decoder`` the copies that get masks of their own; None for
            one mask for all rows.
        seed: seed of the masks; None for torch's generator, which differs between passes.
    """
    parts = _parts(model)
    for name, part in parts.items():
        part.mask_groups = 1 if groups is None else groups[name]
        # Layers of the same shape in both parts must not have the same mask.
        part.mask_seed = None if seed is None else seed + PARTS.index(name)
    try:
        yield
    finally:
        for part in parts.values():
            part.mask_groups, part.mask_seed = 1, None


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    parts = {name: getattr(unwrapped(model), name, None) for name in PARTS}
    return {name: part for name, part in parts.items() if hasattr(part, "mask_groups")}
