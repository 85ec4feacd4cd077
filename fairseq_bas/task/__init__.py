"""Tasks: what fairseq trains on, and how one update runs."""

from . import bas_translation

__all__ = ["bas_translation"]
