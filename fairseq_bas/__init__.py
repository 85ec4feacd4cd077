"""Batch augmentation and large-batch schedules as a fairseq user-dir plugin.

``fairseq-train --user-dir fairseq_bas`` imports this package after fairseq and so registers
everything. Imported without fairseq, it registers nothing and stays cheap; ``register`` does it
later.
"""

import sys

from .version import __version__

__all__ = ["__version__", "register"]


def register() -> None:
    """Make fairseq's checkpoints loadable and register the plugin's components with fairseq."""
    from . import compat, run_hooks, seeding
    from .precision import hooks as precision
    from .resilience import (
        explained_load,
        guarded_step,
        interruption,
        no_eval,
        restarted_run,
        resume,
        save,
        worker_timeout,
        workers,
    )

    for part in (compat, run_hooks, no_eval, worker_timeout, workers, save, resume, interruption):
        part.install()
    # Precision makes the error of a run that cannot go on its last line, so the guard, which may go
    # back instead, comes before.
    for part in (guarded_step, precision, restarted_run, explained_load, seeding):
        part.install()
    from . import criterion, model, optim, schedule, task  # noqa: F401


if "fairseq" in sys.modules:
    register()
