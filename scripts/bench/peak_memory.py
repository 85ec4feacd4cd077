"""Measure how far the memory of a process rises while something runs.

On a CPU a forked child runs it, once, and the kernel tells its peak of resident memory: that counts
whatever is touched, of torch, of oneDNN or of anything else, which torch's own counters do not. So
call this before the parent has done any work: what a process has freed, it may use again unseen.
On a GPU it is the peak of what torch's allocator has handed out.
"""

import os
import resource
import struct
import sys
from collections.abc import Callable

import torch


def peak_bytes(make: Callable[[], Callable[[], object]], device: str = "cpu") -> int:
    """Return the bytes by which the peak of a run exceeds what is there before it.

    Args:
        make: prepares inputs and returns what to run; anything loaded at the first use should have
            been used by then, on a small case.
        device: "cpu" or "cuda".
    """
    if device == "cuda":
        run = make()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        run = make()
        before = _resident()
        run()
        os.write(writer, struct.pack("q", _peak() - before))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    if not found:
        sys.exit("the process that measured memory ended early; there may be too little of it")
    return struct.unpack("q", found)[0]


def _resident() -> int:
    """Return the resident bytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def _peak() -> int:
    """Return the most bytes that were ever resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
