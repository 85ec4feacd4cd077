"""Optimizers registered with fairseq."""

from . import (
    bas_decentlam,
    bas_lamb,
    bas_lars,
    bas_novograd,
    bas_nt_asgd,
    bas_pytorch_optimizer,
)

__all__ = [
    "bas_decentlam",
    "bas_lamb",
    "bas_lars",
    "bas_novograd",
    "bas_nt_asgd",
    "bas_pytorch_optimizer",
]
