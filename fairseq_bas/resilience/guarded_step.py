"""Let a `divergence_guard.DivergenceGuard` see how updates end, those that fail included."""

import functools
from collections.abc import Callable
from typing import Any

from fairseq.trainer import Trainer


@functools.cache
def install() -> None:
    """Let the guard of a task know how each update ended. Calling it again does nothing."""
    Trainer.train_step = _guarded(Trainer.train_step)


def _guarded(train_step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(train_step)
    def guarded(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        guard = getattr(self.task, "divergence_guard", None)
        if guard is None:
            return train_step(self, *args, **kwargs)
        failure = None
        try:
            result = train_step(self, *args, **kwargs)
        except Exception as error:
            failure = guard.failure(error)
            if failure is None:
                raise
        if failure is not None:
            guard.act(failure, self.get_num_updates() + 1)
        guard.after_update()
        return result

    return guarded
