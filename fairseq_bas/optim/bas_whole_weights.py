"""Glue of optimizers that need whole tensors in full precision, in all of fairseq's precisions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, List

import torch
from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from ..errors import UserError
from .unscaled_step import UnscaledStep

HALF = (torch.float16, torch.bfloat16)


@dataclass
class WholeWeightsConfig(FairseqDataclass):
    """What an optimizer must know of a run to refuse weights that are not whole."""

    lr: List[float] = II("optimization.lr")
    ddp_backend: Any = II("distributed_training.ddp_backend")
    zero_sharding: Any = II("distributed_training.zero_sharding")
    use_bmuf: Any = II("optimization.use_bmuf")


def require_whole_weights(cfg: Any, params: Sequence[torch.Tensor], flag: str) -> None:
    """Refuse a run in which the optimizer would not see whole tensors in full precision.

    Args:
        cfg: config with the fields of `WholeWeightsConfig`.
        params: what fairseq gave the optimizer.
        flag: how the user chose the optimizer.

    Raises:
        UserError: if weights or state are split, flattened, in half precision only or trained
            apart.
    """
    given = {
        "--ddp-backend fully_sharded": str(cfg.ddp_backend) == "fully_sharded",
        "--zero-sharding os": str(cfg.zero_sharding) == "os",
        "--use-bmuf": bool(cfg.use_bmuf),
    }
    for other, is_given in given.items():
        if is_given:
            raise UserError(
                f"{flag} needs whole weights that all workers share, which {other} does not "
                f"give; leave {other} out"
            )
    if any(p.dtype in HALF for p in params):
        raise UserError(
            f"{flag} needs a float32 copy of weights in half precision, which "
            "--memory-efficient-fp16 and --memory-efficient-bf16 leave out; pass --fp16 "
            "--fp16-no-flatten-grads or --bf16 alone"
        )
    if all(p.ndim < 2 for p in params):
        raise UserError(
            f"{flag} finds no layers, since --fp16 flattens all weights into one vector; pass "
            "--fp16-no-flatten-grads too"
        )


def first_lr(cfg: Any) -> float:
    """Return the learning rate of the first epoch."""
    return cfg.lr[0] if isinstance(cfg.lr, Collection) else cfg.lr


class WholeWeightsOptimizer(UnscaledStep):
    """Base of the glue of such optimizers."""

    @property
    def supports_flat_params(self):
        """Return False: one flat tensor has no layers."""
        return False
