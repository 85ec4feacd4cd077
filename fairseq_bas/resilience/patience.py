"""Keep what ``--patience`` has counted in checkpoints, which fairseq forgets at every restart."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_NAMES = ("best", "num_runs")


def training_modules() -> Iterator[ModuleType]:
    """Yield the modules that fairseq's training loop may run in: imported, or the main program."""
    for name in ("fairseq_cli.train", "__main__"):
        module = sys.modules.get(name)
        if hasattr(module, "validate_and_save") and hasattr(module, "should_stop_early"):
            yield module  # type: ignore[misc]


def patience_state() -> dict[str, Any]:
    """Return the best validation so far and how many came after it, as ``--patience`` counts.

    fairseq keeps both as attributes of its function. Empty before the first validation.
    """
    for module in training_modules():
        state = {
            name: getattr(module.should_stop_early, name)
            for name in _NAMES
            if hasattr(module.should_stop_early, name)
        }
        if state:
            return state
    return {}


def set_patience_state(state: dict[str, Any]) -> None:
    """Go on counting from what `patience_state` returned, or from nothing if that is empty."""
    for module in training_modules():
        for name in _NAMES:
            if name in state:
                setattr(module.should_stop_early, name, state[name])
            elif hasattr(module.should_stop_early, name):
                delattr(module.should_stop_early, name)
