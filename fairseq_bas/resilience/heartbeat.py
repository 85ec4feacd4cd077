"""Workers that wait while one works alone, as long as that one is alive.

How long the first worker needs to write a checkpoint nobody knows, so waiting for it can have no
limit; a machine that was cut off would then be waited for, too. A thread of every worker therefore
writes to the store of the process group, again and again, that it lives. Who waits reads that, and
gives up on a worker only if it was not heard of for as long as workers may be late.

Worker 0 hears of all and tells the others when all have arrived; they hear of worker 0 alone. So an
interval costs one small message a worker, however many there are.
"""

import atexit
import threading
import time
from dataclasses import dataclass

import torch

_BEATS_IN_LIMIT = 5
_SHORTEST_POLL, _LONGEST_POLL = 0.005, 0.25


class LostWorkerError(torch.distributed.DistError):
    """Another worker has not been heard of for too long."""


@dataclass(frozen=True)
class Sign:
    """What a worker writes of itself.

    Args:
        beat: grows with every sign.
        met: meetings at which it has arrived; of worker 0, those at which all have.
        lost: a worker that worker 0 has given up, or -1.
    """

    beat: int
    met: int
    lost: int = -1

    def encode(self) -> str:
        """Return the text that `decode` reads.

        >>> Sign.decode(Sign(7, 2).encode().encode())
        Sign(beat=7, met=2, lost=-1)
        """
        return f"{self.beat} {self.met} {self.lost}"

    @classmethod
    def decode(cls, text: bytes) -> "Sign":
        """Read what `encode` wrote."""
        return cls(*map(int, text.split()))


class Heartbeat:
    """Tell other workers that this one lives, and wait for them.

    All workers must make one, before any of them calls `start`.

    Args:
        store: of the process group; only the thread uses it after `start`.
        rank: of this worker.
        world_size: number of workers.
        limit: seconds after which a worker that is not heard of counts as lost, above 0.
    """

    def __init__(
        self, store: torch.distributed.Store, rank: int, world_size: int, limit: float
    ) -> None:
        self.limit = limit
        self._store, self._rank = store, rank
        self._heard_of = list(range(1, world_size)) if rank == 0 else [0]
        self._beat, self._arrived, self._opened, self._lost = 0, 0, 0, -1
        self._latest = dict.fromkeys(self._heard_of, (0, 0.0))  # beat, and when it changed
        self._contact, self._failure = 0.0, ""
        self._changed = threading.Condition()
        self._wake, self._is_over = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="bas_heartbeat", daemon=True)
        self._tell()

    def start(self) -> None:
        """Begin to tell; all workers have made theirs by now."""
        self._contact = time.monotonic()
        self._thread.start()
        # A thread that is still in the store while the interpreter ends would abort the process.
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the thread; others will take this worker for lost if they wait for it."""
        self._is_over = True
        self._wake.set()
        self._thread.join(1.0)

    def meet(self) -> None:
        """Wait until all workers are here.

        Raises:
            LostWorkerError: if one of them was not heard of for the limit, or the store was not.
        """
        with self._changed:
            now = time.monotonic()
            self._latest = {rank: (beat, now) for rank, (beat, _) in self._latest.items()}
            self._contact = now
            self._arrived += 1
            self._wake.set()
            while self._opened < self._arrived:
                silent = time.monotonic() - self._contact
                if self._failure or silent > self.limit:
                    reason = self._failure or f"no word from the first for {silent:.0f} s"
                    raise LostWorkerError(reason)
                self._changed.wait(min(1.0, self.limit))

    def _run(self) -> None:
        """Tell and hear, in turns, until the run is over or a worker is lost."""
        poll = _SHORTEST_POLL
        while not self._is_over and not self._failure:
            self._wake.clear()
            try:
                self._tell()
                if self._opened < self._arrived:
                    self._hear()
            except Exception as error:  # of many kinds; all mean that the store cannot be reached
                self._failure = f"no word from the first: {str(error).splitlines()[0]}"
            with self._changed:
                self._contact = time.monotonic()
                self._changed.notify_all()
            is_waiting = self._opened < self._arrived
            poll = min(2 * poll, _LONGEST_POLL) if is_waiting else _SHORTEST_POLL
            self._wake.wait(poll if is_waiting else self.limit / _BEATS_IN_LIMIT)

    def _tell(self) -> None:
        self._beat += 1
        met = self._opened if self._rank == 0 else self._arrived
        self._store.set(_key(self._rank), Sign(self._beat, met, self._lost).encode())

    def _hear(self) -> None:
        """Learn who is here, and who was not heard of for too long."""
        arrived, now = self._arrived, time.monotonic()
        texts = self._store.multi_get([_key(rank) for rank in self._heard_of])
        signs = dict(zip(self._heard_of, map(Sign.decode, texts), strict=True))
        for rank, sign in signs.items():
            if sign.beat != self._latest[rank][0]:
                self._latest[rank] = (sign.beat, now)
            elif sign.met < arrived and now - self._latest[rank][1] > self.limit:
                self._give_up(rank)
            if sign.lost >= 0:
                self._give_up(sign.lost)
        if not self._failure and all(sign.met >= arrived for sign in signs.values()):
            self._opened = arrived
            if self._rank == 0:
                self._tell()

    def _give_up(self, rank: int) -> None:
        self._failure = f"worker {rank} was not heard of for {self.limit:g} s"
        if self._rank == 0:
            self._lost = rank
            self._tell()


def _key(rank: int) -> str:
    return f"bas_alive/{rank}"
