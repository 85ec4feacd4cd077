"""Losses registered with fairseq."""
