"""Losses registered with fairseq."""

from . import bas_cross_entropy

__all__ = ["bas_cross_entropy"]
