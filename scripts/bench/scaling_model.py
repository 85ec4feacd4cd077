"""Predict the time of an update from the times of its parts, for any placement of the copies.

A worker's work on a micro-batch of x padded positions (source and target), with P passes of R
rows for each of its rows:

    collation + transfer + micro-batch + P (pass + R x token)                                  (1)

The first two have a fixed part and one for each position. The update ends when the last worker is
done (``scaling_stragglers``), small messages and the gradient have gone round
(``scaling_network``), and the optimizer has stepped. Assumed: all workers are alike; (1) is linear
in x; at most ``overlap`` of the last pass hides the all-reduce; processes of a machine slow each
other down by ``contention``, and where they outnumber its cores they share these evenly.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scaling_job import Job
from scaling_network import Network, all_reduce_seconds
from scaling_stragglers import finish, order_means


@dataclass(frozen=True)
class Cost:
    """Hold ``fixed`` + ``per_position`` x, seconds."""

    fixed: float = 0.0
    per_position: float = 0.0


@dataclass(frozen=True)
class Parts:
    """Hold the times of the parts of an update, of one process alone, in seconds.

    Attributes:
        collate: reading and collating a micro-batch.
        transfer: bringing it to the device.
        micro_batch: seconds a micro-batch costs beside its passes.
        pass_fixed: seconds a pass costs whatever its size.
        token: seconds of a position in a pass, forward and backward.
        optimizer: the optimizer's step.
        update: all else that an update does once.
        flatten: bringing the gradient into one buffer and back, where there are several workers.
        messages: small messages an update beside the gradient, such as those of the log.
        gradient_bytes: of the gradient.
        contention: time of a pass with ``contention_of`` processes at work over that of one alone.
        contention_of: processes; up to them contention grows linearly, then stays.
    """

    collate: Cost = Cost()
    transfer: Cost = Cost()
    micro_batch: float = 0.0
    pass_fixed: float = 0.0
    token: float = 0.0
    optimizer: float = 0.0
    update: float = 0.0
    flatten: float = 0.0
    messages: int = 2
    gradient_bytes: float = 0.0
    contention: float = 1.0
    contention_of: int = 2

    def slowdown(self, processes: int) -> float:
        """Return by how much processes of a machine slow each other down, cores for all of them.

        >>> parts = Parts(contention=1.3, contention_of=4)
        >>> [round(parts.slowdown(n), 6) for n in (1, 2, 4, 8)]
        [1.0, 1.1, 1.3, 1.3]
        """
        if self.contention_of < 2:
            return 1.0
        share = min(processes - 1, self.contention_of - 1) / (self.contention_of - 1)
        return 1 + (self.contention - 1) * share


@dataclass(frozen=True)
class Machine:
    """Hold the machine and what is assumed about it.

    Attributes:
        parts: measured or given times.
        network: its links, and how many workers a machine has.
        positions: padded positions of micro-batches, each as likely, at least one.
        cores: that the workers of a machine share, infinite where each has a device of its own.
        overlap: share of the last pass in which gradients travel unnoticed, in [0, 1].
        background_loader: True where batches are collated beside the training.
    """

    parts: Parts
    network: Network
    positions: Sequence[float]
    cores: float = math.inf
    overlap: float = 0.0
    background_loader: bool = False


@dataclass(frozen=True)
class Update:
    """Hold the seconds of an update by what they are spent on; ``total`` is their sum."""

    collate: float
    work: float
    waiting: float
    messages: float
    all_reduce: float
    optimizer: float
    update: float

    @property
    def total(self) -> float:
        """Seconds of the update."""
        return sum(dataclasses.astuple(self))


def update_seconds(machine: Machine, job: Job) -> Update:
    """Return the expected time of an update of one micro-batch for each group of workers.

    ``work`` is what the mean worker does, ``waiting`` what an update takes longer until the last
    worker is done; sharing of cores counts as work.

    Args:
        machine: parts, network, sizes of batches.
        job: workers, copies and where they run.

    Raises:
        ValueError: if the placement does not fit the workers.

    >>> from scaling_network import Link
    >>> network = Network(Link(0.0, 1.0), Link(0.0, 1.0))
    >>> machine = Machine(Parts(pass_fixed=1.0, token=0.01), network, [100.0])
    >>> [update_seconds(machine, Job(1, 4, where)).total for where in ("rows", "passes")]
    [5.0, 8.0]
    """
    if not job.fits():
        raise ValueError(
            f"{job.replicas} copies cannot be spread over {job.workers} workers; give numbers "
            "with a common divisor above 1"
        )
    parts, together = machine.parts, min(job.workers, machine.network.per_machine)
    if together > machine.cores and job.workers > together:
        raise ValueError(
            f"{together} workers on {machine.cores:g} cores are modelled on one machine only; give "
            "no more workers a machine than cores"
        )
    slowdown = parts.slowdown(together)
    crowding = max(1.0, together / machine.cores)
    sizes = order_means(machine.positions, job.workers // job.sharing).tolist()
    load = [slowdown * _seconds(parts.collate, job.loaded, x) for x in sizes]
    work = [slowdown * _work(parts, job, x) for x in sizes]
    if machine.background_loader:  # it hides behind the rest, or the rest behind it
        late = [max(0.0, own - other) for own, other in zip(load, work, strict=True)]
    else:
        late = load
    busy = [own + other for own, other in zip(work, late, strict=True)]
    slowest = finish(busy, job.sharing, machine.cores if crowding > 1 else math.inf)
    mean_late, mean_work = (crowding * sum(each) / len(sizes) for each in (late, work))
    last_pass = (
        slowdown * crowding * (parts.pass_fixed + parts.token * job.rows * sum(sizes) / len(sizes))
    )
    traffic = crowding * all_reduce_seconds(parts.gradient_bytes, job.workers, machine.network)
    exposed = max(0.0, traffic - machine.overlap * last_pass)
    small = crowding * parts.messages * all_reduce_seconds(0.0, job.workers, machine.network)
    flatten = parts.flatten if job.workers > 1 else 0.0
    return Update(
        collate=mean_late,
        work=mean_work,
        waiting=slowest - mean_late - mean_work,
        messages=small,
        all_reduce=exposed + slowdown * crowding * flatten,
        optimizer=slowdown * crowding * parts.optimizer,
        update=slowdown * crowding * parts.update,
    )


def _seconds(cost: Cost, micro_batches: int, positions: float) -> float:
    """Return the cost of collating or moving micro-batches that come as one."""
    return cost.fixed + cost.per_position * micro_batches * positions


def _work(parts: Parts, job: Job, positions: float) -> float:
    return (
        _seconds(parts.transfer, job.loaded, positions)
        + parts.micro_batch
        + job.passes * (parts.pass_fixed + parts.token * job.rows * positions)
    )
