"""Plain modules and functions, usable without fairseq."""
