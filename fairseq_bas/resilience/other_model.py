"""Say in one sentence why a checkpoint is not of the model that the flags make.

A checkpoint holds the flags of its run. Those that a reader has to change are the ones of the model
that differ; where none does, it is the data, whose dictionaries give the embeddings their size.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

_SHOWN = 6
"""Flags that a sentence names at most."""

WAY_OUT = "go on with the flags and the data of its run, or name another --save-dir"


def explanation(
    path: str, stored: Mapping[str, Any], cfg: Any, own: Mapping[str, Any]
) -> str | None:
    """Return one sentence that says how the models differ.

    Args:
        path: of the checkpoint.
        stored: what it holds, the names of its weights as they are today.
        cfg: fairseq's config of the run that would load it.
        own: the state of the run's model.

    Returns:
        None where all weights have the same names and shapes.
    """
    different = different_weights(stored["model"], own)
    if not different:
        return None
    flags = different_flags(_plain(stored.get("cfg") or stored.get("args")), _plain(cfg))
    name, was, now = different[0]
    count = f" ({len(different)} such weights)" if len(different) > 1 else ""
    what = f"{name} is {was} in it and {now} here{count}"
    if flags:
        shown = ", ".join(f"{flag} {was} (here {now})" for flag, was, now in flags[:_SHOWN])
        more = f" and {len(flags) - _SHOWN} more" if len(flags) > _SHOWN else ""
        what = f"it has {shown}{more}; {what}"
    return f"{path} holds another model than these flags and data make: {what}; {WAY_OUT}"


def different_weights(
    stored: Mapping[str, Any], own: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return the weights that only one of two models has, or in another shape.

    Args:
        stored: weights by name.
        own: the other ones.

    Returns:
        Name, shape or ``not there`` in the first, the same of the second; in order of names.

    >>> import torch
    >>> different_weights({"a": torch.zeros(2), "b": torch.zeros(1)}, {"a": torch.zeros(2)})
    [('b', (1,), 'not there')]
    """
    was, now = (
        {
            name: tuple(weight.shape)
            for name, weight in weights.items()
            if isinstance(weight, Tensor)
        }
        for weights in (stored, own)
    )
    names = sorted(name for name in {**was, **now} if was.get(name) != now.get(name))
    return [(name, was.get(name, "not there"), now.get(name, "not there")) for name in names]


def different_flags(
    stored: Mapping[str, Any], own: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return the flags of the model that differ and may change the shape of a weight.

    Models of fairseq's older kind keep all flags of a command among their own; those that another
    part of the config has too are left out, and so are rates, as no size is a fraction.

    Args:
        stored: the config of the run that saved, as plain values.
        own: that of the run that would load.

    Returns:
        Flag, its value in ``stored``, its value in ``own``; the name of the model first.

    >>> was = {"model": {"_name": "lstm", "encoder_layers": 1, "dropout": 0.1, "seed": 1}}
    >>> now = {"model": {"_name": "lstm", "encoder_layers": 2, "dropout": 0.3, "seed": 2}}
    >>> different_flags(was, {**now, "common": {"seed": 2}})
    [('--encoder-layers', 1, 2)]
    """
    was, now = (_mapping(config.get("model")) for config in (stored, own))
    others = {name for part in own if part != "model" for name in _mapping(own[part])} - {"_name"}
    found = []
    if was.get("_name") and was["_name"] != now.get("_name"):
        found.append(("--arch", was["_name"], now.get("_name")))
    for name in sorted((was.keys() & now.keys()) - others - {"_name", "arch"}):
        values = (was[name], now[name])
        if values[0] != values[1] and not any(isinstance(value, float) for value in values):
            found.append((f"--{name.replace('_', '-')}", *values))
    return found


def _plain(config: Any) -> Mapping[str, Any]:
    """Return a config, or the flags of fairseq before it had configs, as nested plain values."""
    if isinstance(config, argparse.Namespace):
        return {"model": {**vars(config), "_name": getattr(config, "arch", None)}}
    if isinstance(config, DictConfig):
        config = OmegaConf.to_container(config, resolve=True)
    return _mapping(config)


def _mapping(part: Any) -> Mapping[str, Any]:
    if isinstance(part, argparse.Namespace):
        return vars(part)
    return part if isinstance(part, Mapping) else {}
