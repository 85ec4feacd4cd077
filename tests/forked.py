"""Processes that begin with torch and fairseq imported already, which alone takes four seconds.

The standard library's fork server imports them once. Each process is then forked from it: it
runs a module as ``python -m`` does, with its own standard streams and exit code, and has nothing of
``fairseq_bas``, which it imports from ``--user-dir`` like any other.
"""

import atexit
import functools
import io
import logging
import multiprocessing
import multiprocessing.connection
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

PRELOADED = [
    "torch",
    "torch.distributed",
    "torch._dynamo",  # which every optimizer imports when it is built; that takes two seconds
    "fairseq.tasks",
    "fairseq.models",
    "fairseq.trainer",
    "fairseq.checkpoint_utils",
    "fairseq.logging.progress_bar",
    "fairseq.sequence_generator",
    "sacrebleu",
]
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(PRELOADED)
"""For workers of a test, too: a process that has run torch has threads, whose locks a fork of it
may find held for ever."""
_LOCK = threading.Lock()
"""Held where exit codes are read, which a start does of all processes: a code can be read once, and
of two threads that read it the second gets 255."""


class ForkedProcess:
    """Run ``python -m module args...``; what it shares with ``subprocess.Popen`` means the same.

    Args:
        module: of a command of fairseq.
        args: arguments.
        cwd: working directory.
        env: environment variables to add; those that Python reads at its start come too late.
        stdin: text for standard input; default none.

    Attributes:
        args: the command.
        stdout: what it prints, text.
        stderr: the same of its errors.
    """

    def __init__(
        self,
        module: str,
        args: Sequence[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ):
        os.environ["OMP_NUM_THREADS"] = "1"  # the server, which starts with the first process
        self.args = [sys.executable, "-m", module, *args]
        reads, writes = zip(os.pipe(), os.pipe(), strict=True)
        ends = [Connection(fd, readable=False) for fd in writes]
        begin = _Begin(
            folder=str(cwd or Path.cwd()),
            bytecode=_bytecode() if sys.dont_write_bytecode else None,
            env=dict(env or {}),
            stdin=stdin or "",
        )
        self._process = FORKSERVER.Process(target=_run, args=(module, args, begin, ends))
        with _LOCK:
            self._process.start()
        for end in ends:
            end.close()
        self.stdout, self.stderr = (os.fdopen(fd, encoding="utf-8") for fd in reads)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        with _LOCK:
            return self._process.exitcode

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: after ``timeout`` seconds.
        """
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read what it prints until its end; return standard output and errors.

        Raises:
            subprocess.TimeoutExpired: after ``timeout`` seconds.
        """
        texts: dict[TextIO, str] = {}
        readers = [
            threading.Thread(target=lambda s=stream: texts.update({s: s.read()}), daemon=True)
            for stream in (self.stdout, self.stderr)
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        for stream in (self.stdout, self.stderr):
            stream.close()
        return texts[self.stdout], texts[self.stderr]


@dataclass(frozen=True)
class _Begin:
    """What a process begins with."""

    folder: str
    bytecode: str | None
    env: dict[str, str]
    stdin: str


@functools.cache
def _bytecode() -> str:
    """Return a folder for compiled files of the repository, which takes a quarter of a second."""
    folder = tempfile.mkdtemp(prefix="bytecode")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _run(module: str, args: Sequence[str], begin: _Begin, ends: Sequence[Connection]) -> None:
    """Be the process."""
    if begin.bytecode:  # the environment wants none beside the sources
        sys.dont_write_bytecode, sys.pycache_prefix = False, begin.bytecode
    os.environ.update(begin.env)
    out, err = ends
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    sys.stdout, sys.stderr = (os.fdopen(fd, "w", encoding="utf-8", closefd=False) for fd in (1, 2))
    sys.stdin = io.StringIO(begin.stdin)
    # Data loaders of the process start theirs in the way that is usual here.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    # Importing fairseq sets up logging, unless the command has done so, as it does by itself.
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    os.chdir(begin.folder)
    sys.path.insert(0, begin.folder)
    sys.argv = [module, *args]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
