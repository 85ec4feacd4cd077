"""Fit the costs of the simulator to measured times: least relative squares, none negative."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize


@dataclass(frozen=True)
class PassTime:
    """Hold one measured time.

    Attributes:
        passes: P, of the micro-batch.
        rows: R, rows of a pass for each row of the micro-batch.
        positions: x, padded positions of the micro-batch.
        seconds: forward and backward of all passes.
    """

    passes: int
    rows: int
    positions: int
    seconds: float


def fit_costs(columns: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Fit seconds = sum of cost times column, with costs >= 0, minimising relative errors.

    Args:
        columns: (costs, points), how often each cost occurs in each point.
        seconds: (points,), > 0.

    Returns:
        The costs.

    >>> [round(cost, 9) for cost in fit_costs([[1, 1, 1], [1, 2, 4]], [3.0, 5.0, 9.0])]
    [1.0, 2.0]
    """
    matrix = np.array(columns, dtype=np.float64).T / np.array(seconds)[:, None]
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    found, _ = optimize.nnls(matrix / scale, np.ones(len(seconds)))
    return [float(cost) for cost in found / scale]


def fit_passes(times: Sequence[PassTime]) -> tuple[float, float, float]:
    """Fit t = micro-batch + P pass + P R x token; return these three."""
    micro_batch, pass_fixed, token = fit_costs(
        [
            [1.0 for _ in times],
            [t.passes for t in times],
            [t.passes * t.rows * t.positions for t in times],
        ],
        [t.seconds for t in times],
    )
    return micro_batch, pass_fixed, token


def relative_errors(times: Sequence[PassTime], costs: tuple[float, float, float]) -> list[float]:
    """Return (fitted - measured) / measured of each time."""
    micro_batch, pass_fixed, token = costs
    return [
        (micro_batch + t.passes * (pass_fixed + token * t.rows * t.positions)) / t.seconds - 1
        for t in times
    ]


def fit_ring(sizes: Sequence[int], seconds: Sequence[float], workers: int) -> tuple[float, float]:
    """Fit latency and bandwidth of a ring to the times of all-reduces.

    Args:
        sizes: n, bytes.
        seconds: measured, > 0.
        workers: W >= 2.

    Returns:
        Latency in seconds, bandwidth in bytes a second, infinite where none is seen.

    >>> latency, bandwidth = fit_ring([10**3, 10**6], [0.002001, 0.003], 2)
    >>> round(latency, 9), round(bandwidth)
    (0.001, 1000000000)
    """
    steps = 2 * (workers - 1)
    latency, byte = fit_costs([[steps] * len(sizes), [steps / workers * n for n in sizes]], seconds)
    return latency, 1 / byte if byte > 0 else float("inf")
