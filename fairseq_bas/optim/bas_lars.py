"""``--optimizer bas_lars``: layer-wise SGD with momentum. `LARS` has the mathematics."""

from dataclasses import dataclass, field

from fairseq.optim import register_optimizer

from .bas_layerwise import BasLayerwise, LayerwiseConfig
from .lars import LARS


@dataclass
class BasLARSConfig(LayerwiseConfig):
    """Flags of ``--optimizer bas_lars``."""

    momentum: float = field(default=0.9, metadata={"help": "momentum factor"})
    bas_trust_coefficient: float = field(
        default=1e-3, metadata={"help": "what a trust ratio is multiplied by"}
    )


@register_optimizer("bas_lars", dataclass=BasLARSConfig)
class BasLARS(BasLayerwise):
    """Glue between fairseq and `LARS`."""

    flag = "--optimizer bas_lars"
    optimizer_class = LARS

    @property
    def optimizer_config(self):
        """Return what the command line sets."""
        return {
            **super().optimizer_config,
            "momentum": self.cfg.momentum,
            "trust_coefficient": self.cfg.bas_trust_coefficient,
        }
