"""Workers of one machine on the CPU: forked from the command, watched until the last has ended.

They find each other through a file in a folder of this user alone, so that no port is opened for
it; gloo opens its own on the loopback interface unless ``GLOO_SOCKET_IFNAME`` names another.
Forking saves each worker the seconds of importing fairseq, and is safe here: the command has only
read its flags, no thread and no GPU has been used.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from fairseq.distributed import utils as distributed_utils

from ..errors import UserError

INTERRUPTED = 75
"""Exit code of a worker that saved a checkpoint because of a signal; not a failure."""

PATIENCE, GRACE = 2.0, 10.0
"""Seconds from the failure of a worker to SIGTERM for the others, and from that to SIGKILL."""

_FORWARDED = (signal.SIGTERM, signal.SIGUSR1)


def run_on_cpu(cfg: Any, main: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Run ``main(cfg, **kwargs)`` in ``--distributed-world-size`` processes and wait for them.

    SIGTERM and SIGUSR1 are passed on to every worker. If this process is killed, they are too.

    Args:
        cfg: the whole configuration of the run.
        main: of a command of fairseq.
        kwargs: passed on to it.

    Raises:
        SystemExit: with exit code 75 where workers were interrupted by a signal and have saved,
            1 where one failed after telling why.
        UserError: if a worker was killed.
    """
    count = cfg.distributed_training.distributed_world_size
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback_name())
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="bas_workers_") as folder:
        if cfg.distributed_training.distributed_init_method is None:
            cfg.distributed_training.distributed_init_method = f"file://{folder}/meeting"
        arguments = (os.getpid(), main, cfg, kwargs)
        workers = [context.Process(target=_work, args=(rank, *arguments)) for rank in range(count)]
        with _forwarded_signals(workers) as received:
            for worker in workers:
                worker.start()
            try:
                _watch(workers, received)
            finally:
                for worker in workers:
                    worker.kill()


def _work(
    rank: int, parent: int, main: Callable[..., Any], cfg: Any, kwargs: dict[str, Any]
) -> None:
    """Be worker ``rank``, and end with the parent."""
    torch.multiprocessing._prctl_pr_set_pdeathsig(signal.SIGKILL)
    if os.getppid() != parent:
        return
    for forwarded in _FORWARDED:
        signal.signal(forwarded, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends everything then
    cfg.distributed_training.distributed_rank = rank
    distributed_utils.distributed_main(rank, main, cfg, kwargs)


def _watch(workers: Sequence[BaseProcess], received: set[int]) -> None:
    """Wait until all have ended, and end this process as they did; one that fails ends all."""
    running = list(workers)
    while running:
        connection.wait([worker.sentinel for worker in running])
        # Asked for once: a code is there a moment after the sentinel, and all may end in between.
        codes = {rank: worker.exitcode for rank, worker in enumerate(workers)}
        failed = {rank: code for rank, code in codes.items() if code not in (None, 0, INTERRUPTED)}
        if failed:
            _end(workers)
            # One that was killed, if any: the others have only lost their connection to it.
            rank = min(failed, key=lambda rank: (failed[rank] > 0, rank))
            _fail(rank, failed[rank], received)
        running = [worker for rank, worker in enumerate(workers) if codes[rank] is None]
    if any(worker.exitcode == INTERRUPTED for worker in workers):
        raise SystemExit(INTERRUPTED)


def _end(workers: Sequence[BaseProcess]) -> None:
    """Let workers that lost another one end by themselves, then end them."""
    connection.wait([worker.sentinel for worker in workers if worker.exitcode is None], PATIENCE)
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + GRACE
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()
        worker.join()


def _fail(rank: int, code: int, received: set[int]) -> None:
    """End this process because worker ``rank`` did not end well."""
    if code > 0:  # it has told why
        raise SystemExit(1)
    if -code in received:  # what this process was told to do
        raise SystemExit(128 - code)
    raise UserError(
        f"worker {rank} was ended by {signal.Signals(-code).name} (the machine may lack memory); "
        "start the same command again to go on from the newest checkpoint"
    )


@contextlib.contextmanager
def _forwarded_signals(workers: Sequence[BaseProcess]) -> Iterator[set[int]]:
    """Pass signals on to the workers while they run; gives those that came."""
    received: set[int] = set()

    def forward(number: int, frame: object) -> None:
        received.add(number)
        for worker in workers:
            if worker.pid is not None and worker.exitcode is None:
                os.kill(worker.pid, number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _loopback_name() -> str:
    """Return the name of the loopback interface, ``lo`` on Linux."""
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in ("lo", "lo0") if name in names), names[0])
