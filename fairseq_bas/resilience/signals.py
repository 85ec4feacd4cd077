"""Remember that a signal asked the process to stop; let a second one end it at once.

A watch replaces the handlers of its signals and puts the previous ones back when it stops. Python
runs handlers between two of its instructions, so a process that waits within C, say for a worker
that is gone, would never see a second signal; a thread of the watch does.

Processes forked by the watched one, such as those that load data, are often sent the signal too: by
``timeout``, by ``pkill``, by batch systems that signal all processes of a job. They must not die of
it while the process still reads from them. They ignore it unless their parent sends it.
"""

import contextlib
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What batch systems send before they kill: SIGTERM, and SIGUSR1 as Slurm's ``--signal``."""

REPEAT_AFTER = 2.0
"""Seconds after which a further signal is a second request. Launchers pass on what the whole group
has got already, so that one request may arrive several times."""

_active: "SignalWatch | None" = None


class SignalWatch:
    """Watch for signals from `start` to `stop`, both called in the main thread.

    Attributes:
        received: the first signal that came, or 0.
    """

    def __init__(self) -> None:
        self.received = 0
        self._previous: dict[int, Any] = {}
        self._pipe: tuple[int, int] = (-1, -1)
        self._previous_wakeup = -1

    @property
    def is_running(self) -> bool:
        """Whether the handlers are in place."""
        return bool(self._previous)

    def start(self) -> None:
        """Replace the handlers. A watch that is running stops first."""
        global _active
        if _active is not None:
            _active.stop()
        _protect_forked_processes()
        _active = self
        self.received = 0
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._previous_wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threading.Thread(target=_end_at_second, args=(self._pipe[0],), daemon=True).start()
        self._previous = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}

    def stop(self, ignore: bool = False) -> None:
        """Put the previous handlers back. Does nothing if the watch is not running.

        Args:
            ignore: ignore further signals instead, as a process does that is about to end.
        """
        global _active
        if not self._previous:
            return
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_IGN if ignore else handler or signal.SIG_DFL)
        self._previous = {}
        signal.set_wakeup_fd(self._previous_wakeup, warn_on_full_buffer=False)
        os.close(self._pipe[1])  # ends the thread
        _active = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            return
        self.received = number
        # Not by logging, which the signal may have interrupted.
        with contextlib.suppress(OSError):
            os.write(2, f"{signal.Signals(number).name} received: {_NOTICE}\n".encode())


_NOTICE = (
    "the run saves a checkpoint after this update and any validation that belongs to it, and ends; "
    "a second signal ends it at once"
)


def _end_at_second(pipe: int) -> None:
    """Read the signals that arrive; end the process where one is a second request."""
    first = None
    with os.fdopen(pipe, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            if number[0] not in STOP_SIGNALS:
                continue
            first = first or time.monotonic()
            if time.monotonic() - first >= REPEAT_AFTER:
                os._exit(128 + number[0])


def _protect_forked_processes() -> None:
    """Let processes that are forked while a watch runs outlive signals that are not for them."""
    global _is_protecting
    if not _is_protecting:
        os.register_at_fork(after_in_child=_after_fork)
        _is_protecting = True


_is_protecting = False


def _after_fork() -> None:
    global _active
    if _active is None:
        return
    _active = None
    signal.set_wakeup_fd(-1)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    # torch gives its loader processes a handler of SIGTERM of its own; blocked, it never runs.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(target=_obey_parent, args=(os.getppid(),), daemon=True).start()


def _obey_parent(parent: int) -> None:
    """End this process when its parent asks for it; swallow what others send."""
    while True:
        if signal.sigwaitinfo(STOP_SIGNALS).si_pid == parent:
            os._exit(0)
