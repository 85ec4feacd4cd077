"""Batch controllers: how large the next update is, and what that does to its learning rate."""
