"""``--optimizer bas_novograd``: normalised gradients. `NovoGrad` has the mathematics."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.optim import register_optimizer

from .bas_layerwise import BasLayerwise, LayerwiseConfig
from .novograd import NovoGrad
from .optimizer_options import parse_betas


@dataclass
class BasNovoGradConfig(LayerwiseConfig):
    """Flags of ``--optimizer bas_novograd``."""

    adam_betas: Any = field(
        default=(0.95, 0.98), metadata={"help": "decay of the momentum and of the gradient's norm"}
    )
    adam_eps: float = field(default=1e-8, metadata={"help": "epsilon added to that norm"})


@register_optimizer("bas_novograd", dataclass=BasNovoGradConfig)
class BasNovoGrad(BasLayerwise):
    """Glue between fairseq and `NovoGrad`; what it logs is what gradients are multiplied by."""

    flag = "--optimizer bas_novograd"
    optimizer_class = NovoGrad
    ratio_name = "gradient_scale"

    @property
    def optimizer_config(self):
        """Return what the command line sets."""
        return {
            **super().optimizer_config,
            "betas": parse_betas(self.cfg.adam_betas),
            "eps": self.cfg.adam_eps,
        }
