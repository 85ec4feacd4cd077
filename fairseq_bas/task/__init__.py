"""Tasks: what fairseq trains on, and how one update runs."""

from . import bas_language_modeling, bas_translation

__all__ = ["bas_language_modeling", "bas_translation"]
