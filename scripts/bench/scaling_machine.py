"""The machine that is simulated: what was measured, with what the user's flags put in its place."""

import argparse
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from scaling_job import Job
from scaling_model import Cost, Machine, Parts, update_seconds
from scaling_network import Link, Network, all_reduce_seconds

# flag: (part, unit in seconds or bytes, help)
GIVEN = {
    "pass_ms": ("pass_fixed", 1e-3, "fixed ms of a pass"),
    "token_us": ("token", 1e-6, "us of a padded position in a pass"),
    "optimizer_ms": ("optimizer", 1e-3, "ms of an optimizer step"),
    "update_ms": ("update", 1e-3, "ms of the rest of an update"),
    "flatten_ms": ("flatten", 1e-3, "ms of bringing the gradient into a buffer and back"),
    "gradient_mb": ("gradient_bytes", 1e6, "MB of the gradient"),
    "contention": ("contention", 1.0, "slowdown of the workers of a full machine"),
}


def add_machine_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that describe another machine; whatever is not given is as measured."""
    flags = parser.add_argument_group("another machine; whatever is not given is as measured here")
    for name, (_, _, meaning) in GIVEN.items():
        flags.add_argument(f"--{name.replace('_', '-')}", type=float, help=meaning)
    flags.add_argument("--batch-tokens", type=float, help="target tokens of a micro-batch")
    flags.add_argument("--collate-ms", type=float, help="ms of collating a mean micro-batch")
    flags.add_argument("--transfer-ms", type=float, help="ms of moving a mean micro-batch")
    flags.add_argument("--bandwidth", type=float, help="GB/s between workers of a machine")
    flags.add_argument("--latency-us", type=float, help="us a message, there")
    flags.add_argument("--outer-bandwidth", type=float, help="GB/s of a machine's link to others")
    flags.add_argument("--outer-latency-us", type=float, help="us a message, there")
    flags.add_argument("--workers-per-machine", type=int, help="workers of a machine")
    flags.add_argument("--cores", type=float, help="that they share; inf for a device each")
    flags.add_argument("--logarithmic", action="store_true", help="messages of an all-reduce grow "
                       "with the logarithm of the workers, as in trees")  # fmt: skip
    flags.add_argument("--hierarchical", action="store_true", help="add up inside machines first")
    flags.add_argument("--overlap", type=float, default=0.0, help="share of the last pass in which "
                       "gradients travel unnoticed")  # fmt: skip
    flags.add_argument(
        "--background-loader", action="store_true", help="collate beside the training"
    )


def given_machine(
    found: Mapping[str, Any], host: Mapping[str, Any], args: argparse.Namespace | None
) -> tuple[Machine, str]:
    """Return the machine to simulate, and its assumptions in words.

    Args:
        found: parts as measured.
        host: what they were measured on.
        args: the command line's values; None for the machine here, as it is.

    Raises:
        ValueError: one sentence, where a number is out of range or missing.
    """
    given = {} if args is None else {k: v for k, v in vars(args).items() if v is not None}
    parts = _parts(found, given)
    stretch = given.get("batch_tokens", found["tokens"]) / found["tokens"]
    positions = [stretch * x for x in found["positions"]]
    mean = sum(positions) / len(positions)
    for name in ("collate", "transfer"):
        if f"{name}_ms" in given:
            cost = Cost(0.0, 1e-3 * given[f"{name}_ms"] / mean)
            parts = Parts(**{**vars(parts), name: cost})
    cores = given.get("cores", host["cores"] if host["cpu"] else math.inf)
    network = _network(found, host, given)
    machine = Machine(
        parts,
        network,
        positions,
        cores,
        given.get("overlap", 0.0),
        given.get("background_loader", False),
    )
    _refuse(machine, given)
    return machine, _assumptions(machine, given, mean)


def contention_of(found: Mapping[str, Any], host: Mapping[str, Any]) -> float:
    """Return by how much workers slow each other down, from an update that they made together.

    All that an update does but its traffic is multiplied by it, so one update tells it.

    Args:
        found: parts as measured, with the seconds of that update, ``together``.
        host: what they were measured on.
    """
    if not found["network"]:
        return 1.0
    machine, _ = given_machine({**found, "contention": 1.0}, host, None)
    workers = found["network"]["workers"]
    network = dataclasses.replace(machine.network, per_machine=workers)
    update = update_seconds(dataclasses.replace(machine, network=network), Job(workers))
    crowding = max(1.0, workers / machine.cores)
    gradient = all_reduce_seconds(machine.parts.gradient_bytes, workers, network)
    traffic = update.messages + crowding * gradient
    return max(1.0, (found["together"] - traffic) / (update.total - traffic))


def _parts(found: Mapping[str, Any], given: Mapping[str, Any]) -> Parts:
    values = {field.name: found[field.name] for field in dataclasses.fields(Parts)
              if field.name in found}  # fmt: skip
    for name in ("collate", "transfer"):
        values[name] = Cost(*found[name])
    for flag, (part, unit, _) in GIVEN.items():
        if flag in given:
            if not given[flag] >= 0:
                raise ValueError(
                    f"--{flag.replace('_', '-')} {given[flag]} is negative; give 0 or more"
                )
            values[part] = unit * given[flag]
    return Parts(**values)


def _network(
    found: Mapping[str, Any], host: Mapping[str, Any], given: Mapping[str, Any]
) -> Network:
    here = found["network"] or {"latency": 0.0, "bandwidth": math.inf}
    inner = _link(given, "", here["latency"], here["bandwidth"])
    outer = _link(given, "outer_", inner.latency, inner.bandwidth)
    per_machine = given.get("workers_per_machine", host["devices"])
    kinds = [given.get(name, False) for name in ("hierarchical", "logarithmic")]
    return Network(inner, outer, per_machine, *kinds)


def _link(given: Mapping[str, Any], kind: str, latency: float, bandwidth: float) -> Link:
    if f"{kind}latency_us" in given:
        latency = 1e-6 * given[f"{kind}latency_us"]
    if f"{kind}bandwidth" in given:
        bandwidth = 1e9 * given[f"{kind}bandwidth"]
    return Link(latency, bandwidth)


def _refuse(machine: Machine, given: Mapping[str, Any]) -> None:
    if not 0 <= machine.overlap <= 1:
        raise ValueError(f"--overlap {machine.overlap} is no share; give a number from 0 to 1")
    if machine.network.per_machine < 1 or not machine.cores > 0:
        raise ValueError("--workers-per-machine and --cores cannot be 0; give 1 or more")
    if not given.get("batch_tokens", 1) > 0:
        raise ValueError(f"--batch-tokens {given['batch_tokens']} is no batch; give more than 0")


def _assumptions(machine: Machine, given: Mapping[str, Any], mean: float) -> str:
    """Say what is simulated."""
    network, parts = machine.network, machine.parts
    together = network.per_machine
    outer = "as inside one, for want of --outer-bandwidth"
    if "outer_bandwidth" in given or "outer_latency_us" in given:
        outer = f"{network.outer.bandwidth / 1e9:g} GB/s, {1e6 * network.outer.latency:.0f} us"
    kind = "hierarchical" if network.hierarchical else "flat"
    kind += " tree" if network.logarithmic else " ring"
    lines = [
        f"simulated: machines of {together} workers on {machine.cores:g} cores (slowdown "
        f"{parts.slowdown(together):.2f}), micro-batches of {mean:.0f} padded positions",
        f"  {kind} all-reduce of {parts.gradient_bytes / 1e6:.1f} MB, "
        f"{network.inner.bandwidth / 1e9:.2f} GB/s and {1e6 * network.inner.latency:.0f} us inside "
        f"a machine, between machines {outer}; it overlaps with {machine.overlap:.0%} of a pass",
        f"  loader {'beside' if machine.background_loader else 'before'} the training; workers "
        "wait for the one with the largest batch, drawn from the batches of the text",
    ]
    return "\n".join(lines)
