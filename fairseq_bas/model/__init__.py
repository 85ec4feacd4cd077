"""Registered architectures, and how the plugin reaches into fairseq's models."""

from . import bas_awd_lstm_lm, bas_lstm

__all__ = ["bas_awd_lstm_lm", "bas_lstm"]
