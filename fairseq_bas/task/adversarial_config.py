"""The flags of adversarial copies, shared by every task."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from ..noise.adversarial import NORMS

KINDS = ("none", "fgsm", "pgd", "free", "stale")
KIND_CHOICES = ChoiceEnum(list(KINDS))
SIDE_CHOICES = ChoiceEnum(["source", "target", "both"])
NORM_CHOICES = ChoiceEnum(list(NORMS))


@dataclass
class AdversarialConfig(FairseqDataclass):
    """Hold the flags of adversarial copies."""

    bas_adversarial: KIND_CHOICES = field(
        default="none",
        metadata={
            "help": "train on copies whose embeddings are moved to where the loss is higher: fgsm "
            "(one step along the gradient, which costs a forward and backward pass more), pgd (K "
            "steps, K passes more), free (along the gradient that the first, clean pass over other "
            "copies leaves anyway, no pass more), stale (along the gradient at the parameters of "
            "some updates ago: ConAdv, Liu et al. 2021)"
        },
    )
    bas_adversarial_share: Optional[str] = field(
        default=None,
        metadata={
            "help": "share of the copies that are adversarial, the last ones of each sentence: a "
            "number in [0, 1], or a schedule such as 0.5@0,0@10e (default: 0.5)"
        },
    )
    bas_adversarial_side: Optional[SIDE_CHOICES] = field(
        default=None,
        metadata={
            "help": "embeddings to move: those of the source, of the target (what the decoder "
            "reads) or of both (default: both, in a language model target)"
        },
    )
    bas_adversarial_size: Optional[float] = field(
        default=None,
        metadata={
            "help": "how far: the length of the vectors that are added relative to that of the "
            "embeddings, both as root mean square over the words of a sentence (default: 0.01)"
        },
    )
    bas_adversarial_norm: Optional[NORM_CHOICES] = field(
        default=None,
        metadata={
            "help": "what the size bounds: l2 (the whole sentence: words that matter more move "
            "more) or sign (every component) (default: l2)"
        },
    )
    bas_adversarial_steps: Optional[int] = field(
        default=None,
        metadata={"help": "with pgd: steps, a forward and backward pass each (default: 3)"},
    )
    bas_adversarial_step_size: Optional[float] = field(
        default=None,
        metadata={
            "help": "with pgd: length of a step, as --bas-adversarial-size (default: 2.5 times "
            "that size over the number of steps, at most that size)"
        },
    )
    bas_adversarial_staleness: Optional[int] = field(
        default=None,
        metadata={
            "help": "with stale: of how many updates ago the parameters are; that many copies of "
            "them are kept, in memory and in checkpoints; 0 is fgsm (default: 1)"
        },
    )
