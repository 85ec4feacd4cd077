"""The time of an all-reduce: rings inside machines and between them, by latency and bandwidth.

A ring of W workers sends 2 (W - 1) messages one after the other, each of n / W bytes (Patarasuk and
Yuan 2009, Journal of Parallel and Distributed Computing 69(2)): W - 1 to add up, W - 1 to hand out.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """Hold what a message costs: ``latency`` seconds, and 1 / ``bandwidth`` for each byte.

    Attributes:
        latency: seconds a message, >= 0.
        bandwidth: bytes a second, > 0, may be infinite.

    Raises:
        ValueError: if one of them is out of range.
    """

    latency: float
    bandwidth: float

    def __post_init__(self) -> None:
        if not (self.latency >= 0 and self.bandwidth > 0):
            raise ValueError(
                f"a link with a latency of {self.latency} s and {self.bandwidth} bytes a second "
                "cannot be; give a latency of 0 or more and a bandwidth above 0"
            )


@dataclass(frozen=True)
class Network:
    """Hold the links of a job.

    Attributes:
        inner: between workers of a machine.
        outer: the link of a machine to the others, shared by its workers.
        per_machine: workers of a machine, >= 1.
        hierarchical: True where workers add up inside their machines first.
        logarithmic: see ``ring_seconds``.
    """

    inner: Link
    outer: Link
    per_machine: int = 1
    hierarchical: bool = False
    logarithmic: bool = False


def ring_seconds(size: float, workers: int, link: Link, logarithmic: bool = False) -> float:
    """Return the seconds of a ring all-reduce, 2 (W - 1) (latency + n / (W bandwidth)).

    Args:
        size: n, bytes.
        workers: W >= 1.
        link: between neighbours.
        logarithmic: True for 2 log2 W messages, rounded up, and the same bytes, as in trees and in
            recursive halving and doubling.

    >>> ring_seconds(8e6, 2, Link(0.001, 1e9)), ring_seconds(8e6, 1, Link(0.001, 1e9))
    (0.01, 0.0)
    """
    messages = 2 * (math.ceil(math.log2(workers)) if logarithmic else workers - 1)
    return messages * link.latency + 2 * (workers - 1) / workers * size / link.bandwidth


def all_reduce_seconds(size: float, workers: int, network: Network) -> float:
    """Return the seconds of an all-reduce over machines.

    Flat: one ring through all workers, as slow in every step as its slowest link. A ring enters
    and leaves each machine once, so it has the whole outer link to itself. Hierarchical: the g
    workers of a machine reduce and scatter (half a ring), the j-th workers of all machines reduce
    their n / g bytes in g rings that share the outer links, and the machines gather (the other
    half).

    Args:
        size: n, bytes.
        workers: W >= 1; more than fit into one machine must fill machines.
        network: the links.

    Raises:
        ValueError: if the last machine would not be full.

    >>> network = Network(Link(0.0, 4e9), Link(0.0, 1e9), per_machine=4, hierarchical=True)
    >>> all_reduce_seconds(4e6, 4, network)  # 2 * 3 messages of 1e6 bytes inside
    0.0015
    >>> all_reduce_seconds(4e6, 8, network)  # and 2 messages of 2e6 bytes between two machines
    0.0055
    """
    group = min(workers, network.per_machine)
    machines, rest = divmod(workers, group)
    if rest:
        raise ValueError(
            f"{workers} workers do not fill machines of {network.per_machine}; give a multiple"
        )
    if machines == 1:
        return ring_seconds(size, group, network.inner, network.logarithmic)
    if network.hierarchical:
        inside = ring_seconds(size, group, network.inner, network.logarithmic)
        return inside + ring_seconds(size, machines, network.outer, network.logarithmic)
    if group == 1:
        return ring_seconds(size, machines, network.outer, network.logarithmic)
    slowest = Link(
        max(network.inner.latency, network.outer.latency),
        min(network.inner.bandwidth, network.outer.bandwidth),
    )
    return ring_seconds(size, workers, slowest, network.logarithmic)
