"""The version of the plugin, in one place for setup.py, logs and result signatures."""

__version__ = "0.1.0"
