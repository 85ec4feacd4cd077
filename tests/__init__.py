"""Tests of fairseq_bas; ``toys.py`` and ``processes.py`` hold what several of them share."""
