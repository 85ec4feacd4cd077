"""``--optimizer bas_lamb``: layer-wise Adam. `LAMB` has the mathematics."""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.optim import register_optimizer

from .bas_layerwise import BasLayerwise, LayerwiseConfig
from .lamb import LAMB
from .optimizer_options import parse_betas


@dataclass
class BasLAMBConfig(LayerwiseConfig):
    """Flags of ``--optimizer bas_lamb``."""

    adam_betas: Any = field(default=(0.9, 0.999), metadata={"help": "betas of Adam's moments"})
    adam_eps: float = field(default=1e-6, metadata={"help": "epsilon of Adam's moments"})
    bas_trust_clip: Optional[float] = field(
        default=None, metadata={"help": "largest trust ratio; 1 is LAMBC (default: no bound)"}
    )


@register_optimizer("bas_lamb", dataclass=BasLAMBConfig)
class BasLAMB(BasLayerwise):
    """Glue between fairseq and `LAMB`."""

    flag = "--optimizer bas_lamb"
    optimizer_class = LAMB

    @property
    def optimizer_config(self):
        """Return what the command line sets."""
        return {
            **super().optimizer_config,
            "betas": parse_betas(self.cfg.adam_betas),
            "eps": self.cfg.adam_eps,
            "trust_clip": self.cfg.bas_trust_clip,
        }
