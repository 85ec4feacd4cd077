"""Wait for a worker that writes as long as it lives, and no longer.

A disk may be slow for minutes, so waiting for a checkpoint has no limit of its own; a machine that
was cut off closes no connection, so the others would wait for it all the same. Here a thread of the
writing worker meets the others again and again while it writes. A meeting is over in no time or,
where one of them is gone, fails within the limit.
"""

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

PERIOD = 1.0
"""Seconds between two meetings at most."""


@contextlib.contextmanager
def kept_company(group: dist.ProcessGroup, seconds: float) -> Iterator[None]:
    """Let the first worker do the block while the others wait for it.

    Args:
        group: of all workers, by gloo, used for nothing else; all must come here in step.
        seconds: limit of a meeting.

    Raises:
        RuntimeError: of gloo, once another worker is gone; on the first one after the block.
    """
    distributed_c10d._set_pg_timeout(timedelta(seconds=seconds), group)
    if dist.get_rank(group) > 0:
        yield
        while not _meet(group, is_done=False):
            pass
        return
    beat = _Beat(group, min(PERIOD, seconds / 3))
    beat.start()
    try:
        yield
    finally:
        beat.end()
    if beat.error is not None:
        raise beat.error


def _meet(group: dist.ProcessGroup, is_done: bool) -> bool:
    """Return, on all workers, whether the first one is done."""
    done = torch.tensor([int(is_done)])
    dist.all_reduce(done, dist.ReduceOp.MAX, group)
    return bool(done.item())


class _Beat(threading.Thread):
    """Meet the others until the work of this worker is done.

    Attributes:
        error: that ended it before.
    """

    def __init__(self, group: dist.ProcessGroup, period: float):
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self._group, self._period = group, period
        self._done = threading.Event()

    def run(self) -> None:
        """Meet now and then, the last time to say that the work is done."""
        try:
            while not _meet(self._group, self._done.is_set()):
                self._done.wait(self._period)
        except Exception as error:  # told by the worker's own thread
            self.error = error

    def end(self) -> None:
        """Tell the others that the work is done."""
        self._done.set()
        self.join()
