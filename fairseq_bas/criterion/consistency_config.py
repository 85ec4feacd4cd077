"""The flags of ``bas_cross_entropy``."""

import math
from dataclasses import dataclass, field
from typing import Optional

from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.dataclass import ChoiceEnum

from ..errors import UserError

DEFAULT_WEIGHTS = {
    "rdrop": 2.5,  # alpha = 5 (Liang et al. 2021), whose cross-entropy is a sum over two copies
    "jsd": 10.0,  # as strong as rdrop where copies are close: there JSD is a quarter of the KL
    "clean": 3.0,  # Gao et al. 2022 (SimCut)
    "mean-logits": 2.5,  # 5, normalised by two copies (Shen et al. 2020, Cutoff)
    "l2": 0.15,  # Zolna et al. 2018 (fraternal dropout)
    "log-mean-exp": 1.0,  # the importance-weighted loss itself
}
CONSISTENCY_CHOICES = ChoiceEnum(["none", *DEFAULT_WEIGHTS])


@dataclass
class BasCrossEntropyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Hold fairseq's flags of label-smoothed cross-entropy, chunk size and consistency."""

    bas_chunk_tokens: Optional[int] = field(
        default=None,
        metadata={
            "help": "target tokens whose logits are held at a time (default: what fills 32 MiB)"
        },
    )
    bas_consistency: Optional[CONSISTENCY_CHOICES] = field(
        default=None,
        metadata={
            "help": "what draws the predictions of copies together: rdrop (mean KL over pairs), "
            "jsd (Jensen-Shannon), clean (KL from the clean copy 0), mean-logits (KL from the "
            "softmax of the mean logits), l2 (between logits), log-mean-exp (importance-weighted "
            "likelihood instead of its mean), none"
        },
    )
    bas_consistency_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "weight of that term beside the mean cross-entropy of the copies; R-Drop's "
            "alpha is twice this (default: as published, 2.5 for rdrop and mean-logits, 10 for "
            "jsd, 3 for clean, 0.15 for l2, 1 for log-mean-exp)"
        },
    )
    bas_consistency_warmup: int = field(
        default=0,
        metadata={"help": "updates over which that weight rises linearly from zero"},
    )
    bas_ar: float = field(
        default=0.0,
        metadata={
            "help": "activation regularisation: times the mean square of the last LSTM layer's "
            "output after dropout (AWD-LSTM: 2)"
        },
    )
    bas_tar: float = field(
        default=0.0,
        metadata={
            "help": "temporal activation regularisation: times the mean square of its change from "
            "one step to the next, before dropout (AWD-LSTM: 1)"
        },
    )


def consistency_weight(kind: str, given: Optional[float]) -> float:
    """Return the weight of a consistency term.

    Args:
        kind: ``none`` or a key of ``DEFAULT_WEIGHTS``.
        given: what the user wrote, None for nothing.

    Raises:
        UserError: if the weight is out of range or there is nothing to weigh.
    """
    if given is None:
        return DEFAULT_WEIGHTS.get(kind, 0.0)
    if kind == "none":
        raise UserError(
            f"--bas-consistency-weight {given} has nothing to weigh; pass --bas-consistency too"
        )
    if not 0 <= given < math.inf:
        raise UserError(
            f"--bas-consistency-weight {given} is out of range; give a number of at least 0"
        )
    return given
