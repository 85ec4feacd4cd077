"""What follows from a batch kappa times as large: one rule for every setting that depends on it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NAMED_EXPONENTS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}
COUPLED = ("betas", "eps", "ema", "clip")


@dataclass(frozen=True)
class ScalingRule:
    r"""Scale settings that are good at a reference batch to one kappa times as large.

    ==============  =========================================  ==================================
    setting         at kappa                                   source
    ==============  =========================================  ==================================
    learning rate   :math:`\eta\,\kappa^p`                     p = 1: Goyal et al. 2017; p = 1/2:
                                                               Hoffer et al. 2017, You et al. 2019
    Adam's betas    :math:`1 - (1 - \beta)\,\kappa`            Malladi et al. 2022
    Adam's epsilon  :math:`\epsilon / \sqrt\kappa`             Malladi et al. 2022
    EMA decay       :math:`\rho^\kappa`                        Busbridge et al. 2023
    clip norm       :math:`c\,\sqrt{(|G|^2 + S/B) / (|G|^2 + S/B_0)}`: the expected norm of the
                    gradient falls as its noise does; without measurements the pure-noise limit
                    :math:`c / \sqrt\kappa`
    ==============  =========================================  ==================================

    Args:
        exponent: p, 0 to 1.
        coupled: which of ``COUPLED`` to scale besides the learning rate.
    """

    exponent: float = 0.0
    coupled: tuple[str, ...] = ()

    def learning_rate(self, kappa: float) -> float:
        """Return what the learning rate is multiplied by.

        >>> ScalingRule(exponent=0.5).learning_rate(16.0)
        4.0
        """
        return kappa**self.exponent

    def betas(self, betas: Sequence[float], kappa: float) -> tuple[float, ...]:
        """Return Adam's betas; below 0 (kappa beyond 1 / (1 - beta)) they stay at 0.

        >>> ScalingRule(coupled=("betas",)).betas((0.9, 0.98), 5.0)
        (0.5, 0.9)
        """
        if "betas" not in self.coupled:
            return tuple(betas)
        return tuple(round(max(0.0, 1.0 - (1.0 - beta) * kappa), 12) for beta in betas)

    def eps(self, eps: float, kappa: float) -> float:
        """Return Adam's epsilon."""
        return eps / math.sqrt(kappa) if "eps" in self.coupled else eps

    def ema_decay(self, decay: float, kappa: float) -> float:
        """Return the decay per update of averaged weights.

        >>> round(ScalingRule(coupled=("ema",)).ema_decay(0.999, 2.0), 6)
        0.998001
        """
        return decay**kappa if "ema" in self.coupled else decay

    def clip_norm(
        self,
        clip_norm: float,
        kappa: float,
        noise_to_signal: float | None = None,
    ) -> float:
        """Return the norm at which gradients are clipped.

        Args:
            clip_norm: of the reference batch; 0 is no clipping.
            kappa: > 0.
            noise_to_signal: S / (B_0 |G|^2) of the reference batch, where measured.

        >>> ScalingRule(coupled=("clip",)).clip_norm(1.0, 4.0)
        0.5
        >>> ScalingRule(coupled=("clip",)).clip_norm(1.0, 4.0, noise_to_signal=0.0)
        1.0
        """
        if "clip" not in self.coupled:
            return clip_norm
        if noise_to_signal is None:
            return clip_norm / math.sqrt(kappa)
        return clip_norm * math.sqrt((1 + noise_to_signal / kappa) / (1 + noise_to_signal))


def parse_scaling_rule(scaling: str, coupled: str | None) -> ScalingRule:
    """Read ``--bas-lr-scaling`` and ``--bas-scale-also``.

    Args:
        scaling: ``none``, ``sqrt``, ``linear`` or an exponent from 0 to 1.
        coupled: names of ``COUPLED`` with commas between, or nothing.

    Raises:
        ValueError: one sentence, if either is none of these.

    >>> parse_scaling_rule("sqrt", "betas,eps")
    ScalingRule(exponent=0.5, coupled=('betas', 'eps'))
    """
    exponent = NAMED_EXPONENTS.get(scaling)
    if exponent is None:
        try:
            exponent = float(scaling)
        except ValueError:
            exponent = math.nan
        if not 0 <= exponent <= 1:
            raise ValueError(
                f"--bas-lr-scaling {scaling} is neither none, sqrt, linear nor an exponent from 0 "
                "to 1; pass one of these"
            )
    names = tuple(name.strip() for name in (coupled or "").split(",") if name.strip())
    for name in names:
        if name not in COUPLED:
            raise ValueError(
                f"--bas-scale-also {coupled}: {name!r} is not one of {', '.join(COUPLED)}; choose "
                "among these, with commas between"
            )
    return ScalingRule(exponent, names)
