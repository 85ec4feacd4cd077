"""torchrun for runs of ours: bound to one address, interrupted without loss, restarted in time.

Run by ``scripts/launch.sh``. The elastic agent of torch does the work; it is changed in this:

- The stores by which machines and workers meet listen on the given address only. torch's own
  listen on all addresses of a machine.
- SIGTERM and SIGUSR1 are passed on to the workers, which save a checkpoint; this process waits for
  them without a limit and ends with their exit code 75. torchrun kills them after 30 seconds.
- A machine that is cut off notices it. The agent of torch waits for an answer of the store forever.
- The first machine has the first workers, in every start, so that sums have the same order.
- Restarted workers get a new store. torch keeps the old one, in which gloo finds dead addresses.
- A refused flag or file ends the run at once: a restart would be refused alike.
- What went wrong is told in one line.
"""

import argparse
import functools
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch.distributed.elastic.agent.server import local_elastic_agent
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerState
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError, c10d_rendezvous_backend
from torch.distributed.launcher import api

from .addresses import interface_of, listen_on, own_address, parse_meeting
from .told_once import REFUSED

INTERRUPTED = 75
PROG = "launch.sh"

_SECONDS_TO_STOP = 30
"""What the agent of torch gives workers to end, before it kills them."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags before ``--``."""
    parser = argparse.ArgumentParser(prog=PROG)
    parser.add_argument("--workers", default="gpu", help="of this machine; gpu: one for each")
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--rank-of-machine", type=int, default=0)
    parser.add_argument("--meet", default="127.0.0.1:0", help="HOST:PORT of the first machine")
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--wait", type=int, default=600, help="seconds for machines to meet")
    parser.add_argument("--timeout", type=float, default=30, help="seconds until one is lost")
    parser.add_argument("--address", default=None, help="of this machine, for the others")
    parser.add_argument("--interface", default=None)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- program and its arguments")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Start the workers of this machine and wait for them.

    Args:
        argv: arguments; those of the process by default.

    Returns:
        0 done, 1 failed, 75 interrupted after workers have saved.
    """
    args = make_parser().parse_args(argv)
    try:
        return _launch(args)
    except ChildFailedError as error:
        print(f"{PROG}: {_explanation(error)}; see above for why", file=sys.stderr)
    except (RendezvousError, ConnectionError, TimeoutError):
        print(_parted(args), file=sys.stderr)
    except SignalException as error:
        return 128 + error.sigval
    except (ValueError, OSError) as error:
        print(f"{PROG}: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def _launch(args: argparse.Namespace) -> int:
    if args.machines > 1:
        host, port = parse_meeting(args.meet)
        address = args.address or own_address(host)
    else:
        host, port, address = "127.0.0.1", 0, "127.0.0.1"
    interface = args.interface or interface_of(address)
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, interface)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    workers = torch.cuda.device_count() if args.workers == "gpu" else int(args.workers)
    if workers < 1:
        raise ValueError("this machine has no GPU that torch can use; pass --cpu")
    config = api.LaunchConfig(
        min_nodes=args.machines,
        max_nodes=args.machines,
        nproc_per_node=workers,
        run_id="fairseq_bas",
        rdzv_backend="c10d",
        rdzv_endpoint=f"{host}:{port}",
        rdzv_configs={
            "is_host": args.rank_of_machine == 0,
            "join_timeout": args.wait,
            "read_timeout": 30,
        },
        max_restarts=args.restarts,
        monitor_interval=0.2,
        local_addr=address,
        signals_to_handle="SIGINT,SIGHUP,SIGQUIT",
    )
    logging.disable(logging.ERROR)  # torch's own account of failures; ours is one line
    _bind_stores(address)
    api.LocalElasticAgent = functools.partial(_Agent, args)
    program, *arguments = args.command[1:] if args.command[:1] == ["--"] else args.command
    api.elastic_launch(config, program)(*arguments)
    return 0


def _bind_stores(address: str) -> None:
    """Make every store that this process keeps for others listen on one address."""
    store = torch.distributed.TCPStore

    def bound(host_name: str, port: int, *args: Any, is_master: bool = False, **kw: Any) -> Any:
        if not is_master:
            return store(host_name, port, *args, is_master=False, **kw)
        listener = listen_on(address, port)
        kw.pop("multi_tenant", None)
        port = listener.getsockname()[1]
        kw = {"timeout": timedelta(minutes=5), **kw, "wait_for_workers": False}
        return store(address, port, *args, is_master=True, master_listen_fd=listener.detach(), **kw)

    c10d_rendezvous_backend.TCPStore = bound
    torch.distributed.TCPStore = bound


class _Agent(local_elastic_agent.LocalElasticAgent):
    """The agent of torch, for workers that save on a signal and may refuse their input."""

    def __init__(self, options: argparse.Namespace, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._options = options
        self._failures: dict[int, Any] = {}
        self._deadline = math.inf
        self._number_machines()
        threading.Thread(target=self._watch_the_agent, daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._forward)

    def _forward(self, number: int, frame: object) -> None:
        """Pass a signal on; before there are workers nothing can be lost."""
        running = [process for process in self._processes() if process.poll() is None]
        if not running:
            raise SystemExit(INTERRUPTED)
        for process in running:
            process.send_signal(number)

    def _processes(self) -> list[Any]:
        handlers = getattr(self._pcontext, "subprocess_handlers", {})
        return [handler.proc for handler in handlers.values()]

    def _watch_the_agent(self) -> None:
        """End everything when the agent has been stuck in a call to the store for too long."""
        while time.monotonic() < self._deadline:
            time.sleep(0.5)
        for process in self._processes():
            process.kill()
        print(_parted(self._options), file=sys.stderr, flush=True)
        os._exit(1)

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        """Meet, and give the workers a new store: the old one names dead workers' addresses."""
        self._deadline = time.monotonic() + self._options.wait + self._options.timeout
        meeting: Any = worker_group.spec.rdzv_handler
        meeting._bootstrap_store_info = meeting._shared_tcp_store_server = None
        super()._rendezvous(worker_group)
        self._deadline = time.monotonic() + self._options.timeout

    def _number_machines(self) -> None:
        """Number the machines as the user does; torch sorts them by the text of their address."""
        meeting: Any = self.get_worker_group().spec.rdzv_handler
        next_rendezvous = meeting.next_rendezvous

        def numbered() -> Any:
            info = next_rendezvous()
            info._rank = self._options.rank_of_machine
            return info

        meeting.next_rendezvous = numbered

    def _exit_barrier(self) -> None:
        self._deadline = math.inf
        super()._exit_barrier()

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        self._deadline = time.monotonic() + self._options.timeout
        codes = [process.poll() for process in self._processes()]
        if INTERRUPTED in codes and all(code in (None, 0, INTERRUPTED) for code in codes):
            if None in codes:  # another one is still writing the checkpoint
                return RunResult(state=WorkerState.HEALTHY)
            raise SystemExit(INTERRUPTED)
        result = super()._monitor_workers(worker_group)
        if any(_is_refused(failure) for failure in result.failures.values()):
            self._remaining_restarts = 0
        self._failures = result.failures
        return result

    def _restart_workers(self, worker_group: WorkerGroup) -> None:
        reason = "another machine does"
        if self._failures:
            reason = _explanation(ChildFailedError("", self._failures))
        left = self._remaining_restarts
        # A worker that waits for the lost one notices it later than this agent does.
        self._deadline = time.monotonic() + _SECONDS_TO_STOP + self._options.timeout
        print(
            f"{PROG}: all workers start again from the newest checkpoint, as {reason} "
            f"({left} more restarts allowed)",
            file=sys.stderr,
            flush=True,
        )
        super()._restart_workers(worker_group)


def _is_refused(failure: Any) -> bool:
    return bool(isinstance(failure.error_file_data, dict) and failure.error_file_data.get(REFUSED))


def _parted(options: argparse.Namespace) -> str:
    return (
        f"{PROG}: the machines lost each other, or did not meet within {options.wait} s at "
        f"{options.meet}; start the same command again on each machine to go on from the newest "
        "checkpoint"
    )


def _explanation(error: ChildFailedError) -> str:
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        how = f"was ended by {failure.signal_name()}"
    else:
        how = f"failed with exit code {failure.exitcode}"
    return f"worker {rank} {how}"


if __name__ == "__main__":
    sys.exit(main())
