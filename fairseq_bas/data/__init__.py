"""Data sets and iterators: what a micro-batch holds and when it comes."""
