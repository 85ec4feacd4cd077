"""How workers on the CPU have ended, as the process that watches them sees it."""

import os

import pytest

from fairseq_bas.errors import UserError
from fairseq_bas.resilience.cpu_workers import INTERRUPTED, _watch
from tests.forked import FORKSERVER


@pytest.mark.parametrize(
    ("codes", "expected"), [([1, 1], 1), ([0, 1], 1), ([INTERRUPTED] * 2, INTERRUPTED), ([0, 0], 0)]
)
def test_workers_that_have_all_ended_are_asked_how(codes, expected):
    """Each may end between two looks at them, all together too."""
    workers = [FORKSERVER.Process(target=os._exit, args=(code,)) for code in codes]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if not expected:
        _watch(workers, set())
        return
    with pytest.raises(SystemExit) as ended:
        _watch(workers, set())
    assert ended.value.code == expected


def test_a_worker_that_was_killed_is_named():
    workers = [FORKSERVER.Process(target=os.abort), FORKSERVER.Process(target=os._exit, args=(1,))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with pytest.raises(UserError, match="worker 0 was ended by SIGABRT"):
        _watch(workers, set())
