"""The flag of a run with several workers."""

from dataclasses import dataclass, field

from fairseq.dataclass import FairseqDataclass


@dataclass
class WorkerConfig(FairseqDataclass):
    """Hold how long workers wait for each other."""

    bas_worker_timeout: float = field(
        default=0.0,
        metadata={
            "help": "seconds after which a worker that waits for another one in an update or a "
            "validation step, or for one that saves and gives no sign of life, takes it for lost "
            "and ends; 0 keeps torch's own limit (10 minutes with nccl, 30 with gloo)"
        },
    )
