"""Workers wait for one that writes slowly, and not for one that is cut off while it writes."""

import multiprocessing
import os
import signal
import time

import pytest
import torch.distributed as dist

import tests.forked  # noqa: F401  says what the server of processes imports
from fairseq_bas.resilience.heartbeat import kept_company

pytestmark = pytest.mark.dist
LIMIT = 0.5
ENDS = {"": 0, "OSError": 2, "RuntimeError": 3}


def work(rank, meeting, what):
    """Be one of two workers; end with a code for the error that came out."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", world_size=2, rank=rank)
    group, error = dist.new_group(backend="gloo"), ""
    try:
        with kept_company(group, LIMIT):
            if rank == 0 and what == "slow":
                time.sleep(3 * LIMIT)
            elif rank == 0 and what == "full":
                raise OSError
            elif rank == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
    except (OSError, RuntimeError) as caught:
        error = "OSError" if isinstance(caught, OSError) else "RuntimeError"
    os._exit(ENDS[error])


@pytest.mark.parametrize(
    ("what", "ends"), [("slow", ["", ""]), ("full", ["OSError", ""]), ("cut", [None, "RuntimeError"])]
)
def test_waiting_lasts_as_long_as_the_writer_lives(tmp_path, what, ends):
    context = multiprocessing.get_context("forkserver")
    workers = [
        context.Process(target=work, args=(rank, tmp_path / "meeting", what)) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    try:
        workers[1].join(60)
        if ends[0] is not None:
            workers[0].join(60)
        codes = [worker.exitcode for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert codes == [None if end is None else ENDS[end] for end in ends]
