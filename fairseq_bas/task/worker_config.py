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
            "validation step takes it for lost and ends; while the first worker saves, the others "
            "wait as long as it lives; loading does not count; 0 keeps torch's own limit (10 "
            "minutes with nccl, 30 with gloo)"
        },
    )
