"""Seed torch's default generators without what it does for devices that the process does not use.

``torch.manual_seed`` writes down the stack of Python calls for each kind of device that is not in
use, in case it will be: half a millisecond here, in every pass of every update. Every pass seeds
anew, so a device that is not in use yet needs no seed.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch


def seed_generators(seed: int) -> None:
    """Seed the default generators of the CPU and of all GPUs in use as ``torch.manual_seed`` does.

    Args:
        seed: in [0, 2**63).

    >>> state = [torch.manual_seed(7), torch.get_rng_state()][1]
    >>> seed_generators(7)
    >>> torch.equal(torch.get_rng_state(), state)
    True
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            generator.manual_seed(seed)


@functools.cache
def install() -> None:
    """Let fairseq's trainer seed each update this way in our runs. Again it does nothing."""
    from fairseq.trainer import Trainer

    Trainer._set_seed = _quickly(Trainer._set_seed)


def _quickly(set_seed: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(set_seed)
    def quickly(self: Any) -> None:
        if self.tpu or not hasattr(self.task, "replica_plan"):
            return set_seed(self)
        return seed_generators(self.cfg.common.seed + self.get_num_updates())

    return quickly
