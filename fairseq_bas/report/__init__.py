"""A page about training runs: charts, tables and files, without network or fairseq."""
