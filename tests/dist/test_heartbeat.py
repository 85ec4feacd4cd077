"""Workers that wait for one another as long as all live."""

import os
import signal
import time
from datetime import timedelta

import pytest
import torch
from fairseq_bas.resilience.heartbeat import Heartbeat, LostWorkerError

from ..forked import FORKSERVER
from ..processes import free_port

WORLD_SIZE, LIMIT = 3, 2.0


def attend(rank, port, told, slow, frozen):
    """Meet twice: worker ``slow`` comes late, worker ``frozen`` stands still before the second."""
    address = ("127.0.0.1", port, WORLD_SIZE + 1, False, timedelta(seconds=30))
    heartbeat = Heartbeat(torch.distributed.TCPStore(*address), rank, WORLD_SIZE, LIMIT)
    told.send("made")
    torch.distributed.TCPStore(*address).wait(["all made"])
    heartbeat.start()
    if rank == slow:
        time.sleep(1.5 * LIMIT)
    begin = time.monotonic()
    heartbeat.meet()
    told.send(time.monotonic() - begin)
    if rank == frozen:
        os.kill(os.getpid(), signal.SIGSTOP)
    try:
        heartbeat.meet()
        told.send("met")
    except LostWorkerError as error:
        told.send(str(error))


def receive(connection):
    assert connection.poll(30)
    return connection.recv()


@pytest.mark.parametrize("slow, frozen", [(0, 1), (1, 0)])
def test_late_worker_is_waited_for_and_frozen_one_is_not(slow, frozen):
    port = free_port()
    store = torch.distributed.TCPStore(
        "127.0.0.1", port, WORLD_SIZE + 1, True, timedelta(seconds=30), wait_for_workers=False
    )
    heard, told = zip(*(FORKSERVER.Pipe(duplex=False) for _ in range(WORLD_SIZE)), strict=True)
    workers = [
        FORKSERVER.Process(target=attend, args=(rank, port, told[rank], slow, frozen))
        for rank in range(WORLD_SIZE)
    ]
    for worker in workers:
        worker.start()
    try:
        assert [receive(connection) for connection in heard] == ["made"] * WORLD_SIZE
        store.set("all made", "yes")
        waited = [receive(connection) for connection in heard]
        last = {receive(heard[rank]) for rank in range(WORLD_SIZE) if rank != frozen}
    finally:
        for worker in workers:
            worker.kill()
    assert all(waited[rank] > 1.2 * LIMIT for rank in range(WORLD_SIZE) if rank != slow)
    assert last == {f"worker {frozen} was not heard of for 2 s"}
