"""Batch augmentation and large-batch schedules as a fairseq user-dir plugin."""

from .version import __version__

__all__ = ["__version__"]
