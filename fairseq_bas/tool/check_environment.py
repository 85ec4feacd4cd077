"""The environment of a run: versions, devices, and settings that weaken a safeguard."""

import importlib.metadata
import os
import platform
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from ..version import __version__
from .check_findings import Finding, Section, note, problem, warning
from .check_versions import BUILDS, LIBRARIES, version_findings

_UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_GIB = 2**30


def check_environment() -> Section:
    """Look at the interpreter, the libraries and the devices of this machine."""
    versions = {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}
    builds = {name: version for name in BUILDS if (version := _version(name))}
    section = Section("environment", {"fairseq_bas": __version__, **versions, "fairseq": builds})
    section.add(version_findings(versions, builds))
    section.add(_settings(os.environ))
    if builds:
        section.add(_import_failure("fairseq"))
    devices: dict[str, Any] = {"devices": []}
    if versions["torch"] is not None:
        devices = device_facts()
        section.add(device_findings(devices))
    section.facts |= devices
    section.lines += _lines(section.facts)
    return section


def device_facts() -> dict[str, Any]:
    """Return what torch was built for, what it finds, and the driver's version as CUDA's."""
    import torch

    number = torch.cuda.device_count()
    devices = []
    for index in range(number):
        properties = torch.cuda.get_device_properties(index)
        devices.append({"name": properties.name, "gib": properties.total_memory / _GIB})
    return {
        "cuda": torch.version.cuda,
        "driver": _driver_version() if torch.version.cuda else None,
        "devices": devices,
        "bf16": bool(number) and torch.cuda.is_bf16_supported(),
    }


def device_findings(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge the devices.

    Args:
        facts: what `device_facts` returns.

    >>> [found.level for found in device_findings({"cuda": "13.0", "driver": None, "devices": []})]
    ['warning']
    """
    cuda, driver, devices = facts["cuda"], facts["driver"], facts["devices"]
    if cuda and driver and not devices and _major(driver) < _major(cuda):
        yield problem(
            f"the NVIDIA driver supports CUDA {driver} and torch was built for {cuda}; update the "
            f"driver, or install torch for CUDA {_major(driver)}"
        )
    elif cuda and not devices:
        yield warning(
            f"torch was built for CUDA {cuda} and finds no device here; check nvidia-smi and "
            "CUDA_VISIBLE_DEVICES, unless the run is for another machine or --cpu"
        )
    elif not devices:
        yield note("no CUDA device, so a run on this machine trains on the CPU")


def _settings(environment: Mapping[str, str]) -> Iterator[Finding]:
    if environment.get(_UNSAFE, "0").lower() in ("1", "y", "yes", "true"):
        yield warning(
            f"{_UNSAFE} is set, so torch loads checkpoints with code in them wherever fairseq_bas "
            f"does not check first; run unset {_UNSAFE}"
        )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_failure(module: str) -> Iterator[Finding]:
    """Report a module that is installed and cannot be imported, whatever the reason."""
    try:
        importlib.import_module(module)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        yield problem(f"{module} cannot be imported ({reason[:200]}); reinstall it")


def _driver_version() -> str | None:
    import torch

    get_version = getattr(torch._C, "_cuda_getDriverVersion", None)  # not in builds for the CPU
    version = get_version() if get_version is not None else 0
    return f"{version // 1000}.{version % 1000 // 10}" if version else None


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _lines(facts: Mapping[str, Any]) -> list[str]:
    builds = ", ".join(f"{name} {version}" for name, version in facts["fairseq"].items())
    names = ("python", *LIBRARIES)
    versions = ", ".join(f"{name} {facts[name]}" for name in names if facts[name])
    lines = [f"fairseq_bas {__version__}, fairseq from {builds or 'nowhere'}"]
    lines += textwrap.wrap(versions, 90)
    for device in facts["devices"]:
        lines.append(
            f"{device['name']}, {device['gib']:.1f} GiB, driver for CUDA {facts['driver']}"
        )
    return lines
