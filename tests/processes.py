"""Real processes for tests.

A test of the command line runs the real command in a process of its own, under the interpreter
that runs pytest::

    def test_trains(toy, tmp_path):
        run_cli("fairseq_cli.train", *tiny_transformer(toy, tmp_path / "ck"), "--max-epoch", "1")
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.forked import ForkedProcess

Process = subprocess.Popen | ForkedProcess

ROOT = Path(__file__).resolve().parent.parent
USER_DIR = ROOT / "fairseq_bas"


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    """Return this process's environment with one thread and the repository importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **(extra or {})}


def _is_forked(module: str, env: dict[str, str] | None) -> bool:
    """Tell whether a process may begin with torch and fairseq imported; see ``forked.py``.

    Other modules are the plugin's own commands, for which it matters what is imported when.
    """
    at_start = any(name.startswith("PYTHON") for name in env or ())
    return module.startswith("fairseq_cli.") and not at_start


def _finished(process: Process, timeout: float) -> subprocess.CompletedProcess:
    """Wait for a process and return what it printed; kill it if that takes too long."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_cli(
    module: str,
    *args: object,
    check: bool = True,
    forked: bool = False,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess:
    """Run ``python -m module args...`` and wait for it.

    Args:
        module: module to run, e.g. ``fairseq_cli.train``.
        *args: arguments; paths and numbers are turned into text.
        check: fail the test, showing the output, where the exit code is not 0.
        forked: let a command of the plugin begin with fairseq imported, as fairseq's own do; one
            test of each kind of command must not, to see that it imports all it needs.
        stdin: text for standard input; default none.
        env: environment variables to add.
        cwd: working directory; default that of pytest.
        timeout: seconds to wait.

    Returns:
        The finished process with ``returncode``, ``stdout`` and ``stderr`` (text).
    """
    command = [*map(str, args)]
    if forked or _is_forked(module, env):
        process = ForkedProcess(module, command, cwd, env, stdin)
        result = _finished(process, timeout)
    else:
        result = subprocess.run(
            [sys.executable, "-m", module, *command],
            input=stdin or "",
            capture_output=True,
            text=True,
            env=_environment(env),
            cwd=cwd,
            timeout=timeout,
        )
    if check:
        _require_success(result)
    return result


def start_workers(
    count: int, module: str, *args: object, env: dict[str, str] | None = None
) -> list[Process]:
    """Start ``count`` processes of one ``fairseq-train``, joined by gloo on the CPU.

    Args:
        count: number of workers; worker ``r`` has distributed rank ``r``. One runs alone.
        module: module to run, e.g. ``fairseq_cli.train``.
        *args: arguments of every worker, without the distributed ones.
        env: environment variables to add.

    Returns:
        The running processes in order of rank, with text pipes; the caller ends them.
    """
    join = [
        *("--distributed-world-size", count, "--distributed-no-spawn"),
        *("--distributed-init-method", f"tcp://127.0.0.1:{free_port()}"),
        *("--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"),
    ]
    ranks = [[*join, "--distributed-rank", rank] if count > 1 else [] for rank in range(count)]
    return [_start(module, [*map(str, [*args, *rank])], env) for rank in ranks]


def _start(module: str, args: list[str], env: dict[str, str] | None) -> Process:
    if _is_forked(module, env):
        return ForkedProcess(module, args, env=env)
    return subprocess.Popen(
        [sys.executable, "-m", module, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(env),
    )


def run_workers(
    count: int,
    module: str,
    *args: object,
    check: bool = True,
    env: dict[str, str] | None = None,
    timeout: float = 180,
) -> list[subprocess.CompletedProcess]:
    """Run workers as `start_workers` does and wait for them.

    Args:
        count: number of workers.
        module: module to run, e.g. ``fairseq_cli.train``.
        *args: arguments of every worker, without the distributed ones.
        check: fail the test, showing the output, where a worker's exit code is not 0.
        env: environment variables to add.
        timeout: seconds to wait for each worker.

    Returns:
        The finished processes in order of rank.
    """
    workers = start_workers(count, module, *args, env=env)
    try:
        results = [_finished(worker, timeout) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    if check:
        for result in results:
            _require_success(result)
    return results


def free_port() -> int:
    """Return a TCP port of this machine that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _require_success(result: subprocess.CompletedProcess) -> None:
    """Fail the test with the end of the output unless the process succeeded."""
    if result.returncode != 0:
        raise AssertionError(
            f"exit code {result.returncode} of {' '.join(result.args)}\n"
            f"stdout: ...{result.stdout[-2000:]}\nstderr: ...{result.stderr[-4000:]}"
        )


def json_log(result: subprocess.CompletedProcess, key: str) -> list[dict]:
    """Return the JSON lines that a training run logged under ``key``.

    Args:
        result: a finished run with ``--log-format json``.
        key: ``train_inner`` (every update), ``train`` or ``valid`` (every epoch).

    Returns:
        One dict a line, in order; the values are text, as fairseq writes them.
    """
    marker = f"| INFO | {key} | {{"
    lines: Iterable[str] = (result.stdout + result.stderr).splitlines()
    return [
        json.loads(line[line.index(marker) + len(marker) - 1 :]) for line in lines if marker in line
    ]
