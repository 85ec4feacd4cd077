"""Signals that ask a process to stop: the first is remembered, a second one ends it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fairseq_bas.resilience.signals import REPEAT_AFTER, STOP_SIGNALS, SignalWatch
from tests.processes import ROOT

STUCK = """
import ctypes
from fairseq_bas.resilience.signals import SignalWatch
SignalWatch().start()
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
print("ready", flush=True)
libc.pthread_mutex_lock(mutex)
libc.pthread_mutex_lock(mutex)  # for ever, and no handler of Python runs meanwhile
"""


@pytest.fixture
def watch():
    watch = SignalWatch()
    watch.start()
    yield watch
    watch.stop()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_first_signal_and_its_repetitions_are_remembered(watch, number, capfd):
    for sent in (number, number, *STOP_SIGNALS):
        os.kill(os.getpid(), sent)
    assert watch.received == number
    assert capfd.readouterr().err.count("received: the run saves a checkpoint") == 1


def test_previous_handlers_come_back():
    before = [signal.signal(number, lambda *_: None) for number in STOP_SIGNALS]
    ours = [signal.getsignal(number) for number in STOP_SIGNALS]
    watch = SignalWatch()
    watch.start()
    assert watch.is_running
    SignalWatch().start()  # another one takes over
    assert not watch.is_running
    signal.getsignal(signal.SIGTERM).__self__.stop()
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == ours
    for number, handler in zip(STOP_SIGNALS, before, strict=True):
        signal.signal(number, handler)


def test_second_signal_ends_a_process_that_waits_in_c():
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        time.sleep(REPEAT_AFTER + 0.2)  # a second one, not a repetition of the first
        assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert process.wait(timeout=20) == 128 + signal.SIGUSR1
    finally:
        process.kill()
        process.stdout.close()


FORKED = """
import os, signal, time
from fairseq_bas.resilience.signals import SignalWatch
SignalWatch().start()
child = os.fork()
if child == 0:
    time.sleep(30)
    os._exit(7)
time.sleep(0.1)
outsider = os.fork()
if outsider == 0:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        os.kill(child, number)
    os._exit(0)
os.waitpid(outsider, 0)
time.sleep(0.1)
assert os.waitpid(child, os.WNOHANG) == (0, 0), "it died of the signal of another process"
os.kill(child, signal.SIGTERM)
assert os.waitpid(child, 0) == (child, 0)
"""


def test_forked_process_obeys_its_parent_only():
    run = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
