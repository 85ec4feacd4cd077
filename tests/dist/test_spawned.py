"""Workers that fairseq spawns, one for each GPU, know whose run they are part of.

They begin without the parent's memory. Here they are forked from the server of ``forked.py``, which
has fairseq imported and nothing of the plugin; the parent counts two devices.
"""

import functools
import os
import signal

import pytest
import torch
from fairseq.distributed import utils as distributed_utils
from fairseq_cli import train

import tests.forked  # noqa: F401  says what the server imports
from fairseq_bas.resilience.interruption import _spawn
from tests.processes import free_port, run_workers
from tests.toys import tiny_transformer
from tests.in_process import config_of

pytestmark = pytest.mark.dist


def main_with_log(path, cfg):
    """Train, with all that is printed in a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    train.main(cfg)


@pytest.fixture
def two_devices(monkeypatch):
    start = functools.partial(torch.multiprocessing.start_processes, start_method="forkserver")
    monkeypatch.setattr(torch.multiprocessing, "spawn", start)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def flags(toy, save_dir):
    model = tiny_transformer(toy, save_dir, task="bas_translation")
    return [*(flag for flag in model if flag != "--cpu"), "--max-update", 2, "--disable-validation"]


def spawned(toy, save_dir, log):
    """Run on two spawned workers; return the exit code and what they printed."""
    join = ("--distributed-world-size", 2, "--distributed-backend", "gloo")
    join += ("--ddp-backend", "legacy_ddp")
    port = ("--distributed-init-method", f"tcp://127.0.0.1:{free_port()}")
    cfg, code = config_of([*flags(toy, save_dir), *join, *port]), 0
    try:
        distributed_utils.call_main(cfg, functools.partial(main_with_log, log))
    except SystemExit as error:
        code = error.code
    return code, log.read_text(encoding="utf-8")


def test_folder_that_cannot_be_written_is_refused_in_one_line(toy, tmp_path, two_devices):
    (tmp_path / "file").write_text("in the way")
    code, printed = spawned(toy, tmp_path / "file" / "ck", tmp_path / "log")
    assert code == 1
    assert printed.count("file/ck cannot be written: Not a directory (ENOTDIR);") == 1
    assert "Traceback" not in printed


def test_finished_run_stays_as_it_is(toy, tmp_path, two_devices):
    run_workers(2, "fairseq_cli.train", *flags(toy, tmp_path / "ck"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "ck").iterdir()}
    assert before
    code, printed = spawned(toy, tmp_path / "ck", tmp_path / "log")
    assert code == 0, printed
    assert printed.count("/ck is finished after 2 updates: it has reached --max-update 2;") == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "ck").iterdir()} == before


def end_with(index, codes):
    """Be worker ``index``: end with its exit code, of the signal where it is negative."""
    if codes[index] < 0:
        os.kill(os.getpid(), -codes[index])
    os._exit(codes[index])


def all_ended(codes, join):
    """Start workers, and return to the waiting parent once each has ended with its exit code."""
    start = torch.multiprocessing.start_processes
    context = start(end_with, (codes,), len(codes), join=join, start_method="forkserver")
    for process in context.processes:
        process.join()
    return context


def test_worker_that_aborts_beside_one_that_refuses_adds_no_traceback():
    """The connection of the one that refuses is gone, and gloo may abort before Python runs."""
    with pytest.raises(SystemExit) as ended:
        _spawn(all_ended, (-signal.SIGABRT, 1))
    assert ended.value.code == 1


@pytest.mark.parametrize("codes", [(-signal.SIGABRT, 0), (-signal.SIGKILL, 0)])
def test_worker_that_dies_by_itself_is_reported(codes):
    with pytest.raises(torch.multiprocessing.ProcessExitedException, match="signal"):
        _spawn(all_ended, codes)
