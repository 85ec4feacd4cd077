"""The flags of batch schedules, shared by every task."""

from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II


@dataclass
class BatchConfig(FairseqDataclass):
    """Hold the flags of batch schedules."""

    bas_batch_schedule: Optional[str] = field(
        default=None,
        metadata={
            "help": "distinct batch of every update, over all workers: amounts at clocks, such as "
            "1x@0,2x@5e,4x@20000u, in multiples (x) of what --max-tokens, --batch-size, "
            "--update-freq and the workers give, in sentences (s) or thousand target tokens (kt); "
            "or a rule with settings: linear, power, adabatch, absa, smith, seesaw, follow-lr, "
            "noise-scale, cabs, norm-test (docs/schedules.md); default: 1x"
        },
    )
    bas_reference_batch: Optional[str] = field(
        default=None,
        metadata={
            "help": "the batch that learning rate and warm-up were tuned for, such as 4kt or 256s; "
            "kappa is counted from it (default: 1x, what --max-tokens and --update-freq give)"
        },
    )
    bas_measure_every: Optional[int] = field(
        default=None,
        metadata={
            "help": "measure the gradient noise scale, and with copies what they are worth, in "
            "every k-th update; 0 is never (default: 10 where something needs it, else never)"
        },
    )
    bas_max_tokens_per_pass: Optional[int] = field(
        default=None,
        metadata={
            "help": "deal the sentences of an update into passes of up to so many tokens, padding "
            "included, without copies: what a device holds, where --max-tokens is only the step by "
            "which batches grow (default: every micro-batch is a pass)"
        },
    )
    update_freq: List[int] = II("optimization.update_freq")
    skip_remainder_batch: Optional[bool] = II("optimization.skip_remainder_batch")
