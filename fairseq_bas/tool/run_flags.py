"""Flags of a run as its log or its checkpoint has them, and what differs between runs.

fairseq logs its whole config in one line, as Python writes dictionaries, with flags of the model in
a ``Namespace(...)``. The line is read as data: nothing in it is called.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from .python_repr import parse_repr

# Parts of the config that training does not use.
_UNUSED = ("generation", "eval_lm", "interactive", "common_eval", "bmuf", "ema", "job_logging_cfg")
_NAMES = {"model": "arch"}
# What says where a run is and not what it does, shown last.
_PLACES = ("data", "save_dir", "restore_file", "user_dir", "log_file", "tensorboard_logdir")
_LONGEST = 2**20


def parse_config(text: str) -> dict[str, Any]:
    """Read a config as fairseq logs it.

    Args:
        text: ``{'_name': None, 'common': {...}, 'model': Namespace(...), ...}``.

    Returns:
        Flag -> value, as `flags_of` gives them; empty where the text is something else.

    Example:
        >>> parse_config("{'common': {'_name': None, 'seed': 1}, 'model': Namespace(arch='lstm')}")
        {'seed': 1, 'arch': 'lstm'}
        >>> parse_config("{'common': __import__('os').system('ls')}")
        {}
    """
    if len(text) > _LONGEST or not text.lstrip().startswith("{"):
        return {}
    try:
        return flags_of(parse_repr(text))
    except (ValueError, SyntaxError):
        return {}


def flags_of(config: Any) -> dict[str, Any]:
    """Flatten a config of fairseq.

    Args:
        config: groups of flags, as in a checkpoint; or a ``Namespace`` of older ones.

    Returns:
        Flag, with underscores, -> plain value; the names of the parts are those of their flags:
        ``task``, ``arch``, ``criterion``, ``optimizer``, ``lr_scheduler``.
    """
    if isinstance(config, argparse.Namespace):
        return _plain(vars(config))
    flags: dict[str, Any] = {}
    if not isinstance(config, Mapping):
        return flags
    for group, values in config.items():
        if group in _UNUSED:
            continue
        if isinstance(values, argparse.Namespace):
            values = vars(values)
        if not isinstance(values, Mapping):
            continue
        name = values.get("_name")
        if name:
            flags.setdefault(_NAMES.get(str(group), str(group)), str(name))
        for flag, value in values.items():
            if flag not in ("_name", "no_seed_provided"):
                flags.setdefault(str(flag), value)
    return _plain(flags)


def differing_flags(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str | None]]]:
    """Return the flags in which runs differ.

    Args:
        runs: flags of each run; a run without any is not compared.

    Returns:
        Flag and its value in every run, None where a run does not have it; in the order of the
        alphabet, paths last.

    Example:
        >>> differing_flags([{"lr": [0.1], "seed": 1}, {"lr": [0.2], "seed": 1, "clip_norm": 1}])
        [('clip_norm', [None, '1']), ('lr', ['0.1', '0.2'])]
    """
    known = [run for run in runs if run]
    names = sorted({flag for run in known for flag in run})
    names.sort(key=lambda flag: flag in _PLACES)
    table: list[tuple[str, list[str | None]]] = []
    for flag in names:
        if len({_shown(run.get(flag)) for run in known}) > 1:
            row = [_shown(run[flag]) if flag in run else None for run in runs]
            table.append((flag, row))
    return table


def shown_flags(flags: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return flags and values as text, in the order of the alphabet.

    Args:
        flags: flag -> plain value.
    """
    return [(flag, _shown(flags[flag])) for flag in sorted(flags)]


def _shown(value: Any) -> str:
    """Return a value as on a command line: lists without brackets."""
    if isinstance(value, list | tuple):
        return ",".join(map(_shown, value))
    return str(value)


def _plain(flags: Mapping[str, Any]) -> dict[str, Any]:
    plain = (bool, int, float, str, type(None), list, tuple)
    return {
        str(flag): value if isinstance(value, plain) else str(value)
        for flag, value in flags.items()
        if flag != "_name"
    }
