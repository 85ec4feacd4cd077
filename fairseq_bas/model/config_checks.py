"""What the flags of the LSTM models have in common: named sizes, and numbers out of range."""

import dataclasses
from collections.abc import Mapping
from typing import Any


def apply_values(args: Any, values: Mapping[str, Any]) -> None:
    """Set the values of a named size, where the user gave none.

    Args:
        args: parsed flags; those that were not given are missing.
        values: the flags of the named size.

    >>> import argparse
    >>> args = argparse.Namespace(bas_layers=2)
    >>> apply_values(args, {"bas_layers": 3, "bas_embed_dim": 200})
    >>> args
    Namespace(bas_layers=2, bas_embed_dim=200)
    """
    for name, value in values.items():
        if not hasattr(args, name):
            setattr(args, name, value)


def check_sizes(cfg: Any, *names: str) -> None:
    """Require at least 1 of each of these flags, where it has a value.

    Raises:
        ValueError: one sentence.
    """
    for name in names:
        value = getattr(cfg, name)
        if value is not None and value < 1:
            raise ValueError(f"{flag_of(name)} {value} is out of range; pass 1 or more")


def check_rates(cfg: Any, config_class: type) -> None:
    """Require that all rates of dropout and zoneout leave something.

    Args:
        cfg: the flags.
        config_class: the dataclass that they belong to.

    Raises:
        ValueError: one sentence.
    """
    names = (field.name for field in dataclasses.fields(config_class))
    for name in (name for name in names if "drop" in name or "zoneout" in name):
        rate = getattr(cfg, name)
        if not 0 <= rate < 1:
            raise ValueError(f"{flag_of(name)} {rate} is out of range; give a rate in [0, 1)")


def flag_of(name: str) -> str:
    """Return the flag of a field.

    >>> flag_of("bas_weight_drop")
    '--bas-weight-drop'
    """
    return "--" + name.replace("_", "-")
