"""A reader's terminal: shell commands in a scratch folder, on a model of toy size.

Commands run as they are printed, in bash. First on ``PATH`` stand ``fairseq-train`` and the
others; each hands its arguments, with those of ``APPENDED`` after them, to this process, which runs
the real command in a process forked from one that has fairseq imported. Nothing is replaced but the
start of Python: what is printed is kept, and of a flag given twice the last value holds.
"""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.forked import ForkedProcess
from tests.processes import ROOT

_TRANSFORMER = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32"),
    *("--decoder-layers", "1", "--decoder-embed-dim", "16", "--decoder-ffn-embed-dim", "32"),
    *("--encoder-attention-heads", "2", "--decoder-attention-heads", "2"),
]
_AWD_LSTM = ["--bas-embed-dim", "16", "--bas-hidden-dim", "16", "--bas-layers", "2"]
_TRAINING = ["--max-update", "4", "--num-workers", "0", "--cpu"]
_SURFACE = ["--cpu", "--sentences", "8"]
_GRADIENT = ["--cpu", "--batches", "4"]

APPENDED: dict[str, list[str]] = {
    "fairseq-train": _TRAINING,
    "fairseq-generate": ["--cpu", "--num-workers", "0", "--max-len-a", "1", "--max-len-b", "3"],
    "fairseq-interactive": ["--cpu"],
    "fairseq-validate": ["--cpu", "--num-workers", "0"],
    "fairseq-eval-lm": ["--cpu", "--num-workers", "0"],
    "fairseq-preprocess": [],
    "fairseq-bas check": [],
    "fairseq-bas landscape": [*_SURFACE, "--points", "3"],
    "fairseq-bas hessian": [
        *_SURFACE,
        "--top",
        "1",
        "--trace-vectors",
        "2",
        "--density-steps",
        "2",
    ],
    "fairseq-bas noise-scale": _GRADIENT,
    "fairseq-bas perplexity": ["--cpu"],
    "fairseq-bas plan": [],
    "fairseq-bas replica-variance": [*_GRADIENT, "--copies", "2"],
    "fairseq-bas report": ["--no-png"],
    "fairseq-bas score": ["--trials", "50"],
    "fairseq-bas sharpness": [*_SURFACE, "--starts", "1", "--subspace", "2"],
}
"""Command -> what is added to make it small; the sizes of a model are added by its architecture."""

_SIZES = {"transformer": _TRANSFORMER, "bas_awd_lstm_lm": _AWD_LSTM}
_MODULES = {"fairseq-bas": "fairseq_bas", "fairseq-eval-lm": "fairseq_cli.eval_lm"}
_CLIENT = f"""#!{sys.executable} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect("\\0" + os.environ["SHELL_SERVER"])
call = [os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]
socket.send_fds(server, [b"x"], [1, 2])
server.sendall(json.dumps(call).encode() + b"\\n")
sys.exit(int(server.makefile().readline()))
"""


def appended(program: str, args: Sequence[str]) -> list[str]:
    """Return what is added to a command.

    Args:
        program: such as ``fairseq-train``.
        args: as printed.
    """
    command = f"{program} {args[0]}" if program == "fairseq-bas" else program
    extra = list(APPENDED.get(command, []))
    if program == "fairseq-train" or command in ("fairseq-bas plan", "fairseq-bas check"):
        arch = next((value for flag, value in itertools.pairwise(args) if flag == "--arch"), "")
        extra += next((size for name, size in _SIZES.items() if arch.startswith(name)), [])
    return extra


class Shell:
    """Run commands in a folder as a reader who has cloned the repository there would.

    Args:
        folder: existing folder; the repository's folders appear in it under their names.

    Attributes:
        ran: the commands that came by ``PATH``, each with its exit code.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.ran: list[tuple[str, int]] = []
        for name in ("fairseq_bas", "data", "docs", "scripts"):
            (folder / name).symlink_to(ROOT / name)
        bin_ = folder / ".bin"
        bin_.mkdir()
        for name in {command.split()[0] for command in APPENDED}:
            (bin_ / name).write_text(_CLIENT)
            (bin_ / name).chmod(0o755)
        # Not a link, which would hide the virtual environment.
        (bin_ / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (bin_ / "python").chmod(0o755)
        self._address = f"fairseq_bas-tests-{os.getpid()}-{id(self)}"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind("\0" + self._address)  # abstract: a path may be too long
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def run(self, script: str, language: str = "") -> subprocess.CompletedProcess:
        """Run a script by bash, or by Python, and return what it printed.

        The first command that fails ends it.
        """
        program = ["python", "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
        env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{self.folder / '.bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SHELL_SERVER": self._address,
            "MPLBACKEND": "agg",
        }
        return subprocess.run(
            [*program, script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=env,
            timeout=300,
        )

    def close(self) -> None:
        """Take no more commands."""
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        """Run one command, with the streams of the program that was called, and tell its end."""
        with connection:
            _, streams, *_ = socket.recv_fds(connection, 1, 2)
            program, args, folder, env = json.loads(connection.makefile().readline())
            module = _MODULES.get(program, f"fairseq_cli.{program.removeprefix('fairseq-')}")
            words = [*args, *appended(program, args)]
            process = ForkedProcess(module, words, Path(folder), env)
            try:
                texts = process.communicate(timeout=200)
            finally:
                process.kill()
            for stream, text in zip(streams, texts, strict=True):
                with open(stream, "w", encoding="utf-8") as file:
                    file.write(text)
            self.ran.append((" ".join([program, *args]), process.returncode))
            connection.sendall(f"{process.returncode}\n".encode())
