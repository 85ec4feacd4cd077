"""Whether a run can go on from the checkpoint that lies in its folder."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from .check_checkpoint import load_checked
from .check_findings import Finding, note, problem
from .plan_setup import PlannedSetup, keeps_half_weights


def restart_findings(path: str, setup: PlannedSetup) -> Iterator[Finding]:
    """Compare a checkpoint with the run that would load it.

    Args:
        path: what the run would load.
        setup: what it is made of.

    Raises:
        ValueError: if the file is damaged, unsafe, or holds no model.
    """
    state = load_checked(path)
    history = state.get("optimizer_history") or [{}]
    updates = history[-1].get("num_updates")
    done = "an unknown number of updates" if updates is None else f"{updates:,} updates"
    yield note(f"training would go on from {path}, after {done}")
    weights = dict(state["model"])
    setup.model.upgrade_state_dict(weights)
    yield from _other_weights(path, weights, setup.model.state_dict())
    if not setup.cfg.checkpoint.reset_optimizer:
        yield from _other_classes(path, history[-1], setup)


def _other_weights(
    path: str, stored: Mapping[str, Any], own: Mapping[str, Any]
) -> Iterator[Finding]:
    """Report weights that only one of the two has, or in another shape."""
    sizes = [
        {n: tuple(w.shape) for n, w in x.items() if isinstance(w, Tensor)} for x in (stored, own)
    ]
    names = {**sizes[0], **sizes[1]}
    different = sorted(name for name in names if sizes[0].get(name) != sizes[1].get(name))
    if different:
        name = different[0]
        was, now = (each.get(name, "not there") for each in sizes)
        yield problem(
            f"{path} holds another model than these flags and data make: {name} is {was} in it and "
            f"{now} here ({len(different)} such weights); go on with the flags and the data of its "
            "run, or name another --save-dir"
        )


def _other_classes(path: str, last: Mapping[str, Any], setup: PlannedSetup) -> Iterator[Finding]:
    own = {"criterion_name": ("loss", type(setup.criterion).__name__)}
    if not keeps_half_weights(setup.cfg) and not setup.cfg.common.amp:
        name = type(setup.scheduler().optimizer).__name__
        own["optimizer_name"] = ("optimizer", name)
    for key, (what, name) in own.items():
        stored = last.get(key)
        if stored is not None and stored != name:
            yield problem(
                f"{path} was trained with the {what} {stored} and these flags ask for {name}; go "
                "on with the same, or pass --reset-optimizer"
            )
