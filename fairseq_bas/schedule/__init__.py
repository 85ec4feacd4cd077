"""Learning-rate schedulers registered with fairseq."""

from . import bas_adascale, bas_autowu, bas_legw, bas_scaled

__all__ = ["bas_adascale", "bas_autowu", "bas_legw", "bas_scaled"]
