"""The machine's own rate of matrix products, and the share of it that a training run reaches."""

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode
from trainer_side import Side

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def matrix_rate(precision: str, repeats: int = 5) -> float:
    """Return operations a second of one large matrix product, the best of a few.

    Args:
        precision: fp32, fp16 or bf16.
        repeats: products, after one that is not counted.
    """
    on_gpu = torch.cuda.is_available()
    size = 8192 if on_gpu else 1024
    left, right = torch.randn(
        2, size, size, device="cuda" if on_gpu else "cpu", dtype=DTYPES[precision]
    )
    seconds = [_timed(lambda: left @ right) for _ in range(repeats + 1)]
    return 2 * size**3 / min(seconds[1:])


def share_of_matrix_rate(side: Side, precision: str, repeats: int = 3) -> float:
    """Return the share of ``matrix_rate`` that updates of a side's last micro-batch reach.

    The operations are those of all matrix products of the update, attention included, padding too.
    """

    def update() -> None:
        side.trainer.train_step(side.samples)

    with FlopCounterMode(display=False) as counter:
        update()
    seconds = statistics.median(_timed(update) for _ in range(repeats))
    return counter.get_total_flops() / seconds / matrix_rate(precision)


def _timed(run: Callable[[], object]) -> float:
    """Return the seconds of a call, the device's work included."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start
