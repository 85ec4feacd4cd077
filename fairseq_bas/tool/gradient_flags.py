"""The flags of a checkpoint's run as they are for measuring the gradients of single copies."""

import argparse
import copy
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import fairseq_bas

# isort: split
from fairseq import options
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from omegaconf import OmegaConf, open_dict

from ..task.noise_config import NoiseConfig

# Also when this module was imported first, and fairseq by it.
fairseq_bas.register()

REPLICATED_TASKS = {"translation": "bas_translation", "language_modeling": "bas_language_modeling"}
"""Tasks of fairseq -> those of this plugin, which do the same but for copies and their noise."""

PARTS = ("task", "model", "criterion")

_ALONE = "each copy is measured alone, as an independent draw"
LEFT_OUT: dict[str, tuple[Any, str]] = {
    "bas_share": ("input", _ALONE),
    "bas_clean_replica": (False, _ALONE),
    "bas_graded_noise": (False, _ALONE),
    "bas_complementary_noise": (False, _ALONE),
    "bas_offset_copies": (False, _ALONE),
    "bas_consistency": (None, "a loss that compares copies has no gradient of one alone"),
    "bas_batching": ("blocks", "windows are read at random places, each from a zero state"),
}
"""Flags that a measurement leaves out -> the value that does, and why."""

_FIXED = {
    "bas_output_dropout": None,
    "bas_consistency_weight": None,
    "bas_variable_bptt": False,
    "bas_rotate_streams": False,
    "bas_share_state": False,
    "bas_replicas_per_pass": None,
    "bas_replica_workers": None,
    "bas_batch_schedule": None,
    "bas_reference_batch": None,
    "bas_measure_every": 0,
    "bas_max_tokens_per_pass": None,
    "eval_bleu": False,
    "update_freq": [1],
    "skip_remainder_batch": False,
    "distributed_world_size": 1,
}


class RunFlags:
    """Hold what a checkpoint says of its run, and change it.

    Args:
        cfg: fairseq's config, as a checkpoint holds it.
        path: the checkpoint, for messages.

    Attributes:
        cfg: a copy in which the task is one of this plugin.
        notes: what was changed because a single copy has no meaning with it, sentences.

    Raises:
        ValueError: if the run had another task than translation or language modelling.
    """

    def __init__(self, cfg: Any, path: str):
        self.cfg = _copied(cfg)
        self.notes: list[str] = []
        name = _name_of(cfg.task)
        self.task_name = REPLICATED_TASKS.get(name, name)
        if self.task_name not in REPLICATED_TASKS.values():
            raise ValueError(
                f"{path} was trained for the task {name}, which is neither translation nor "
                "language modelling; pass another checkpoint"
            )
        with open_dict(self.cfg):
            self.cfg.task = self._replicated_task(cfg)
        for key, (value, why) in LEFT_OUT.items():
            was = self.get(key)
            if self.put(key, value) and was not in (None, False, "none", value):
                words = _flag(key) if was is True else f"{_flag(key)} {was}"
                self.notes.append(f"{words} of the run is left out: {why}")
        for key, value in _FIXED.items():
            self.put(key, value)

    def _replicated_task(self, cfg: Any) -> Any:
        """Return the task's flags as those of the plugin's task, filled in where they are new."""
        stored = _as_dict(cfg.task)
        flags: dict[str, Any] = {"_name": self.task_name}
        for field in dataclasses.fields(TASK_DATACLASS_REGISTRY[self.task_name]):
            default = field.default
            if field.name in stored and field.name != "_name":
                flags[field.name] = stored[field.name]
            elif isinstance(default, str) and default.startswith("${"):
                flags[field.name] = OmegaConf.select(cfg, default[2:-1])
        return OmegaConf.create(flags, flags={"allow_objects": True})

    def get(self, key: str) -> Any:
        """Return the value of a flag of task, model or criterion; None if none has it."""
        for part in PARTS:
            value = _as_dict(self.cfg[part]).get(key)
            if value is not None:
                return value
        return None

    def put(self, key: str, value: Any) -> bool:
        """Set a flag wherever it is known; return whether it is known anywhere."""
        found = False
        for part in PARTS:
            section = self.cfg[part]
            is_namespace = isinstance(section, argparse.Namespace)
            known = hasattr(section, key) if is_namespace else key in section
            known = known or (part == "task" and key in self._task_fields())
            if known and is_namespace:
                setattr(section, key, value)
            elif known:
                with open_dict(section):
                    section[key] = value
            found = found or known
        return found

    def _task_fields(self) -> set[str]:
        return {f.name for f in dataclasses.fields(TASK_DATACLASS_REGISTRY[self.task_name])}

    def copied(self) -> "RunFlags":
        """Return flags that can be changed alone."""
        other = copy.copy(self)
        other.cfg, other.notes = _copied(self.cfg), list(self.notes)
        return other

    def has_noise(self) -> bool:
        """Tell whether the run gave copies noise beside the model's own."""
        task = _as_dict(self.cfg.task)
        keys = ("bas_source_noise", "bas_target_noise", "bas_recipe", "bas_adversarial")
        return any(str(task.get(key) or "none") != "none" for key in keys)

    def without_noise(self) -> "RunFlags":
        """Return these flags with no other noise than the model's own."""
        plain = self.copied()
        fields = dataclasses.fields(TASK_DATACLASS_REGISTRY[self.task_name])
        own = {f.name for f in dataclasses.fields(NoiseConfig)} - {"_name", "bas_noise_unit"}
        for field in fields:
            if field.name in own or field.name.startswith("bas_adversarial"):
                plain.put(field.name, field.default)
        plain.put("bas_recipe", None)
        return plain

    def with_flags(self, flags: Sequence[str]) -> "RunFlags":
        """Return these flags changed by some of ``fairseq-train``.

        Args:
            flags: of task, model or criterion, such as ``["--dropout", "0.3"]``.

        Raises:
            ValueError: if one of them cannot be changed here.
            SystemExit: by argparse, for flags that do not exist.
        """
        changed = self.copied()
        for key, value in self._given(flags).items():
            if key in LEFT_OUT or key in _FIXED or key in ("bas_replicas", "bas_placement"):
                raise ValueError(
                    f"{_flag(key)} decides how copies run together, and here each runs alone; "
                    "leave it out"
                )
            if key in _flags_of_every_run() or not changed.put(key, value):
                raise ValueError(
                    f"{_flag(key)} is no flag of the task, the model or the loss of this "
                    "checkpoint, and cannot change its noise; leave it out"
                )
        return changed

    def _given(self, flags: Sequence[str]) -> dict[str, Any]:
        parser = options.get_training_parser()
        parser.prog, parser.allow_abbrev = "fairseq-train", False
        names = {
            "task": self.task_name,
            "arch": _name_of(self.cfg.model),
            "criterion": _name_of(self.cfg.criterion),
        }
        chosen = [word for key, name in names.items() for word in (f"--{key}", name)]
        given = vars(
            options.parse_args_and_arch(parser, ["data", *chosen, *flags], suppress_defaults=True)
        )
        for key, name in names.items():
            if given.pop(key, name) != name:
                raise ValueError(
                    f"{_flag(key)} cannot change, as the checkpoint was trained with {name}; "
                    "leave it out"
                )
        given.pop("data", None)
        return given


@functools.cache
def _flags_of_every_run() -> frozenset[str]:
    """Return the flags that fairseq-train has whatever the task, the model and the loss."""
    return frozenset(action.dest for action in options.get_training_parser()._actions)


def _copied(cfg: Any) -> Any:
    """Return a copy of a config, whose namespaces OmegaConf would share."""
    other = copy.deepcopy(cfg)
    with open_dict(other):
        for part in PARTS:
            if isinstance(cfg[part], argparse.Namespace):
                other[part] = copy.deepcopy(cfg[part])
    return other


def _name_of(section: Any) -> str:
    for key in ("_name", "arch", "task", "criterion"):
        value = getattr(section, key, None)
        if isinstance(value, str):
            return value
    return str(section)


def _as_dict(section: Any) -> dict[str, Any]:
    if isinstance(section, argparse.Namespace):
        return vars(section)
    found: Any = OmegaConf.to_container(section, resolve=True, enum_to_str=True)
    return dict(found)


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"
