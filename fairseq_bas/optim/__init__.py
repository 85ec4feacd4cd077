"""Optimizers registered with fairseq."""

from . import bas_nt_asgd

__all__ = ["bas_nt_asgd"]
