"""Tests of fairseq_bas; ``helpers.py`` holds what several of them share."""
