"""What a batch controller decides for an update."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """Say how large an update is and what becomes of its learning rate.

    Args:
        multiple: size of the update as a multiple of the base batch, > 0.
        lr_factor: what the learning rate of the base schedule is multiplied by, >= 0.
    """

    multiple: float
    lr_factor: float = 1.0
