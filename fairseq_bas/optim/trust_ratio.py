r"""Trust ratios: what layer-wise optimizers multiply the learning rate of each layer by.

A layer is one parameter tensor or, row-wise, one row of a matrix: an embedding holds a vector for
each word, and the norm of 32,000 of them together says little about any one. Biases and the gains
of norms, tensors of at most one dimension, are no layers unless asked for: their norm is about
zero at the start or says nothing about the size of a sensible step.

All functions take and return lists with one tensor a layer tensor and never wait for the device;
only `mean_by_group` turns ratios into numbers.
"""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_EMBEDDING = re.compile(r"(^|\.)(embed[^.]*|[^.]*_embed(ding)?s?)(\.|$)")
# Elements up to which torch's norm on a CPU is good to about 1e-6 in float32; an embedding of 16
# million comes out wrong by 7e-4.
_EXACT = 2**16
_OUTPUT = re.compile(r"(^|\.)(output_projection|fc_out|adaptive_softmax)(\.|$)")


def is_layer(parameter: Tensor, include_vectors: bool = False) -> bool:
    """Tell whether a parameter gets a trust ratio and weight decay.

    Args:
        parameter: of any shape.
        include_vectors: True to count tensors of at most one dimension as layers too.

    Returns:
        True for tensors of two or more dimensions, and for all with ``include_vectors``.

    Example:
        >>> is_layer(torch.zeros(4, 3)), is_layer(torch.zeros(4))
        (True, False)
    """
    return include_vectors or parameter.ndim > 1


def norms(tensors: Sequence[Tensor], rowwise: bool = False) -> list[Tensor]:
    """Return the Euclidean norm of each tensor, or of each of its rows.

    Args:
        tensors: each of any shape; row-wise (rows, ...) with at least two dimensions.
        rowwise: True for the norms of rows.

    Returns:
        Scalars; row-wise tensors of shape (rows, 1, ...) that broadcast over the given ones.

    Example:
        >>> norms([torch.tensor([[3.0, 4.0], [0.0, 2.0]])], rowwise=True)[0].tolist()
        [[5.0], [2.0]]
    """
    if rowwise:
        return [
            torch.linalg.vector_norm(t, dim=tuple(range(1, t.ndim)), keepdim=True) for t in tensors
        ]
    if any(t.is_cpu and t.numel() > _EXACT for t in tensors):
        return [_norm_in_parts(t) for t in tensors]
    return list(torch._foreach_norm(list(tensors)))


def _norm_in_parts(tensor: Tensor) -> Tensor:
    parts = torch._foreach_norm(list(tensor.reshape(-1).split(_EXACT)))
    return torch.linalg.vector_norm(torch.stack(list(parts)))


def jointly(function: Callable[..., Tensor], *lists: Sequence[Tensor]) -> list[Tensor]:
    """Apply an elementwise function to lists of small tensors in one go.

    Args:
        function: elementwise, from as many vectors as there are lists to one vector.
        *lists: equally long lists; tensors at the same place have the same shape.

    Returns:
        The list of results, shaped as the tensors of the first list.

    Example:
        >>> [x.item() for x in jointly(torch.add, [torch.tensor(1.0)], [torch.tensor(2.0)])]
        [3.0]
    """
    first = lists[0]
    result = function(*(torch.cat([t.reshape(-1) for t in tensors]) for tensors in lists))
    parts = result.split([t.numel() for t in first])
    return [part.view(t.shape) for part, t in zip(parts, first, strict=True)]


def trust_ratios(
    weight_norms: Sequence[Tensor], update_norms: Sequence[Tensor], clip: float | None = None
) -> list[Tensor]:
    r"""Return LAMB's trust ratios, :math:`\lVert w\rVert / \lVert u\rVert`.

    Args:
        weight_norms: norms of the weights, as `norms` returns them.
        update_norms: norms of the updates, of the same shapes.
        clip: largest ratio; None for no bound.

    Returns:
        The ratios, shaped as the norms; 1 where either norm is 0.

    Source:
        You et al. 2019, arXiv 1904.00962, Algorithm 2 with phi the identity; ``clip``: Fong et al.
        2020, arXiv 2011.13584.

    Example:
        >>> weights, updates = [torch.tensor(6.0), torch.tensor(0.0)], [torch.tensor(2.0)] * 2
        >>> [ratio.item() for ratio in trust_ratios(weights, updates)]
        [3.0, 1.0]
    """

    def ratio(weight: Tensor, update: Tensor) -> Tensor:
        result = torch.where((weight > 0) & (update > 0), weight / update, 1.0)
        return result if clip is None else result.clamp(max=clip)

    return jointly(ratio, weight_norms, update_norms)


def masked_means(ratios: Sequence[Tensor], keep: Sequence[Tensor]) -> list[Tensor]:
    """Return the mean of the kept elements of each tensor, 0 where none is kept.

    Args:
        ratios: of any shape.
        keep: bool, of the same shapes.

    Returns:
        Scalars.

    Example:
        >>> masked_means([torch.tensor([2.0, 9.0])], [torch.tensor([True, False])])[0].item()
        2.0
    """
    return [(r * k).sum() / k.sum().clamp(min=1) for r, k in zip(ratios, keep, strict=True)]


def is_embedding(name: str) -> bool:
    """Tell by its name whether a parameter of a fairseq model belongs to an embedding.

    Args:
        name: as ``named_parameters`` gives it.

    Example:
        >>> is_embedding("encoder.embed_tokens.weight"), is_embedding("decoder.layers.0.fc1.weight")
        (True, False)
    """
    return _EMBEDDING.search(name) is not None


def module_group(name: str) -> str:
    """Return the part of a model that a parameter is counted to.

    Args:
        name: as ``named_parameters`` gives it, with or without the ``module.`` of a wrapper.

    Returns:
        ``embedding``, ``output`` or the first part of the name, such as ``encoder``.

    Example:
        >>> names = ("module.encoder.layers.0.fc1.weight", "decoder.embed_tokens.weight")
        >>> [module_group(name) for name in names]
        ['encoder', 'embedding']
    """
    if is_embedding(name):
        return "embedding"
    if _OUTPUT.search(name):
        return "output"
    parts = [part for part in name.split(".") if part != "module"]
    return parts[0]


def mean_by_group(ratios: Sequence[Tensor], groups: Sequence[str]) -> dict[str, float]:
    """Average ratios over the parameters of each group; the only wait for the device.

    Args:
        ratios: scalars, one a parameter.
        groups: name of the group of each, as from `module_group`.

    Returns:
        The plain mean over parameters, whatever their size, for each group.

    Example:
        >>> mean_by_group([torch.tensor(1.0), torch.tensor(3.0)], ["encoder", "encoder"])
        {'encoder': 2.0}
    """
    if not ratios:
        return {}
    values: dict[str, list[float]] = {}
    together = torch.stack([ratio.to(ratios[0].device) for ratio in ratios]).tolist()
    for group, value in zip(groups, together, strict=True):
        values.setdefault(group, []).append(value)
    return {group: sum(of_group) / len(of_group) for group, of_group in values.items()}
