"""Who trains on what: workers, copies, passes and rows of a job, as the task lays them out."""

import math
from dataclasses import dataclass

PLACEMENTS = ("rows", "passes", "workers", "distinct")


@dataclass(frozen=True)
class Job:
    """Hold how a job is laid out.

    Attributes:
        workers: W >= 1.
        replicas: M >= 1.
        placement: ``rows``, ``passes``, ``workers``, or ``distinct``: no copies, M times as many
            different sentences in every micro-batch, for comparison.
    """

    workers: int = 1
    replicas: int = 1
    placement: str = "rows"

    def fits(self) -> bool:
        """Tell whether the job can be: ``workers`` needs a number that divides W and M."""
        return self.placement != "workers" or self.sharing > 1

    @property
    def sharing(self) -> int:
        """Workers that train on one micro-batch, as --bas-replica-workers is by default."""
        return math.gcd(self.workers, self.replicas) if self.placement == "workers" else 1

    @property
    def passes(self) -> int:
        """Passes of a worker on a micro-batch."""
        return self.replicas if self.placement == "passes" else 1

    @property
    def rows(self) -> int:
        """Rows that a pass has for each row of the micro-batch.

        >>> Job(4, 8, "workers").rows, Job(4, 8, "passes").rows, Job(4, 8, "rows").rows
        (2, 1, 8)
        """
        return self.replicas // (self.passes * self.sharing)

    @property
    def loaded(self) -> int:
        """Micro-batches' worth of distinct sentences that a worker loads."""
        return self.replicas if self.placement == "distinct" else 1

    @property
    def distinct(self) -> int:
        """Micro-batches' worth of distinct sentences in an update.

        >>> [Job(8, 4, where).distinct for where in ("workers", "rows", "distinct")]
        [2, 8, 32]
        """
        return self.workers // self.sharing * self.loaded
