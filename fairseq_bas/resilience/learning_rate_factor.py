"""A factor on the learning rate of whatever scheduler a run has."""

from collections.abc import Callable, Mapping
from typing import Any

FACTOR, OWN = "bas_lr_factor", "bas_own_lr"


class LearningRateFactor:
    """Stand in for a scheduler of fairseq's and multiply what it sets.

    The scheduler sees the learning rates that it has set itself, so that one which goes on from
    them, such as ``reduce_lr_on_plateau``, is not led astray. Everything else about it is as it
    was; with a factor of 1 this class does nothing.

    The factor is in the state of the scheduler, and so in checkpoints, once it is not 1.

    Args:
        scheduler: of fairseq's kind, with an ``optimizer``.

    Attributes:
        factor: what learning rates are multiplied by, > 0.
    """

    def __init__(self, scheduler: Any):
        self._scheduler = scheduler
        self.factor = 1.0
        self._own: list[Any] | None = None  # None: the groups have the scheduler's own rates

    def __getattr__(self, name: str) -> Any:
        if name == "_scheduler":  # not yet there, as when this object is being copied
            raise AttributeError(name)
        return getattr(self._scheduler, name)

    def step_begin_epoch(self, epoch: int) -> Any:
        """Begin an epoch."""
        return self._scaled(self._scheduler.step_begin_epoch, epoch)

    def step(self, epoch: int, val_loss: float | None = None) -> Any:
        """End an epoch."""
        return self._scaled(self._scheduler.step, epoch, val_loss)

    def step_update(self, num_updates: int) -> Any:
        """Set and return the learning rate after ``num_updates`` updates."""
        return self._scaled(self._scheduler.step_update, num_updates)

    def _scaled(self, method: Callable[..., Any], *args: Any) -> Any:
        if self.factor == 1.0:
            return method(*args)
        groups = list(self._scheduler.optimizer.param_groups)
        if self._own is not None:
            _set(groups, self._own)
        rate = method(*args)
        self._own = [group["lr"] for group in groups]
        _set(groups, [self._times(own) for own in self._own])
        if isinstance(rate, dict):
            return {name: self._times(value) for name, value in rate.items()}
        return self._times(rate)

    def _times(self, rate: Any) -> Any:
        return None if rate is None else rate * self.factor

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state, with the factor if there is one."""
        state = self._scheduler.state_dict()
        if self.factor == 1.0:
            return state
        return {**state, FACTOR: self.factor, OWN: self._own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state of this class or of the scheduler alone."""
        self.factor = float(state.get(FACTOR, 1.0))
        self._own = state.get(OWN)
        self._scheduler.load_state_dict(
            {name: value for name, value in state.items() if name not in (FACTOR, OWN)}
        )


def _set(groups: list[dict[str, Any]], rates: list[Any]) -> None:
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
