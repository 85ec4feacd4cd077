"""LayerDrop whose choice of layers is keyed, so that several passes can share it."""

import torch
from fairseq.modules.layer_drop import LayerDropModuleList
from torch import nn

from ..rng import derive_seed


class KeyedLayerDrop(LayerDropModuleList):
    """Leave out layers by a key in training; without a key do as fairseq does.

    It holds the same layers under the same names as the list that it takes the place of.
    """

    def __init__(self, layers: LayerDropModuleList):
        super().__init__(layers.p, list(nn.ModuleList.__iter__(layers)))
        self.key: int | None = None

    def __iter__(self):
        if self.key is None or not self.training:
            return super().__iter__()
        generator = torch.Generator().manual_seed(self.key)
        draws = torch.rand(len(self), generator=generator)
        layers = nn.ModuleList.__iter__(self)
        return (layer for layer, draw in zip(layers, draws.tolist(), strict=True) if draw > self.p)


def make_layer_drop_keyed(model: nn.Module) -> list[KeyedLayerDrop]:
    """Put keyed lists in the place of all LayerDrop lists of a model, and return them."""
    keyed = []
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LayerDropModuleList):
                keyed.append(KeyedLayerDrop(child))
                setattr(module, name, keyed[-1])
    return keyed


def set_layer_drop_keys(lists: list[KeyedLayerDrop], seed: int, update_num: int) -> None:
    """Make every pass of an update leave out the same layers, on all workers."""
    for number, layers in enumerate(lists):
        layers.key = derive_seed(seed, "layerdrop", update_num, number)
