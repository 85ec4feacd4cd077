"""Estimators over gradients: plain mathematics, usable without fairseq."""
