"""Whether a run can go on from the checkpoint that lies in its folder."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..resilience.other_model import explanation
from ..safe_load import load_checked
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
    last = setup.cfg.optimization.max_update
    if updates is not None and 0 < last <= updates:
        yield note(
            f"{path} is the end of its run, after {done}: the command would end at once; pass a "
            f"larger --max-update than {last} to go on"
        )
    else:
        yield note(f"training would go on from {path}, after {done}")
    weights = dict(state["model"])
    setup.model.upgrade_state_dict(weights)
    own = setup.model.state_dict()
    other = explanation(path, {**state, "model": weights}, setup.cfg, own)
    if other is not None:
        yield problem(other)
    if not setup.cfg.checkpoint.reset_optimizer:
        yield from _other_classes(path, history[-1], setup)


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
