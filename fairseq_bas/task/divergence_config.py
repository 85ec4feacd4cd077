"""The flags of the divergence guard, shared by every task."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

ON_DIVERGENCE = ChoiceEnum(["warn", "stop", "rollback"])


@dataclass
class DivergenceConfig(FairseqDataclass):
    """Hold the flags of the divergence guard."""

    bas_on_divergence: ON_DIVERGENCE = field(
        default="warn",
        metadata={
            "help": "what to do when the loss explodes: warn, stop, or rollback (go on from the "
            "newest checkpoint that was good, with a lower learning rate); a gradient that is not "
            "finite cannot be warned of only, and stops the run; the sentences are written to "
            "divergence-UPDATE.json in --save-dir"
        },
    )
    bas_divergence_threshold: float = field(
        default=1.5,
        metadata={
            "help": "the loss explodes where its average over about 10 updates is this many times "
            "that over about 100 (counted as at least 1 nat per target token)"
        },
    )
    bas_rollback_lr_factor: Optional[float] = field(
        default=None,
        metadata={
            "help": "with rollback: what the learning rate of any schedule is multiplied by each "
            "time, above 0 and up to 1 (default: 0.5)"
        },
    )
    bas_rollbacks: Optional[int] = field(
        default=None,
        metadata={"help": "with rollback: how many there may be, then the run stops (default: 3)"},
    )
