"""The flags of batch augmentation, shared by every task, and their meaning as a placement."""

import math
from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from ..config import Schedule, parse_schedule
from ..replicate import Placement

PLACEMENTS = ChoiceEnum(["rows", "passes", "workers"])


@dataclass
class ReplicaConfig(FairseqDataclass):
    """Hold the flags of batch augmentation."""

    bas_replicas: Optional[str] = field(
        default=None,
        metadata={
            "help": "copies of every training sentence in an update, each with its own noise (M): "
            "a number, or a schedule value@clock over updates (u), epochs (e), distinct sentences "
            "(s) or thousand target tokens (kt), such as 1@0,4@2e; the gradient is the mean over "
            "copies (Hoffer et al. 2019); default: that of --bas-recipe, or 1"
        },
    )
    bas_placement: PLACEMENTS = field(
        default="rows",
        metadata={
            "help": "where the copies run: rows (side by side in one forward pass, fastest, memory "
            "times M), passes (one after the other, memory of one copy), workers (spread over "
            "data-parallel workers that load the same micro-batch)"
        },
    )
    bas_replicas_per_pass: Optional[int] = field(
        default=None,
        metadata={
            "help": "copies of a sentence in one forward pass, the bound on memory; more copies "
            "run in further passes (default: all for rows and workers, 1 for passes)"
        },
    )
    bas_replica_workers: Optional[int] = field(
        default=None,
        metadata={
            "help": "with --bas-placement workers: how many workers share a micro-batch "
            "(default: the greatest number that divides the workers and every M)"
        },
    )
    seed: int = II("common.seed")
    lr: List[float] = II("optimization.lr")
    update_freq: List[int] = II("optimization.update_freq")
    distributed_world_size: int = II("distributed_training.distributed_world_size")


class ReplicaPlan:
    """Give the placement of the copies for every value of M that a run uses.

    Args:
        cfg: the flags.

    Raises:
        ValueError: one sentence, if the flags contradict each other or the number of workers.
    """

    def __init__(self, cfg: ReplicaConfig):
        self.schedule: Schedule[int] = parse_schedule(
            cfg.bas_replicas or "1", flag="--bas-replicas"
        )
        self.kind = str(cfg.bas_placement)
        self.rows_per_pass = cfg.bas_replicas_per_pass
        if self.rows_per_pass is not None and self.rows_per_pass < 1:
            raise ValueError(
                f"--bas-replicas-per-pass {self.rows_per_pass} holds no copy; pass 1 or more"
            )
        self.workers = self._replica_workers(cfg)
        self._placements = {m: self._place(m) for m in self.schedule.values}

    def at(self, clock) -> Placement:
        """Return the placement at ``clock`` (a ``config.Clock``)."""
        return self._placements[self.schedule.at(clock)]

    def largest(self) -> Placement:
        """Return the placement of the largest M of the run."""
        return self._placements[max(self.schedule.values)]

    def made_on(self, worker: int) -> range:
        """Return the replicas that the ``worker``-th of those that share a batch may ever run.

        With a schedule that is all of them, as data loaders run ahead of the clock.
        """
        placements = list(self._placements.values())
        if len(placements) == 1:
            passes = placements[0].passes_of(worker)
            return range(passes[0].start, passes[-1].stop)
        return range(self.largest().replicas)

    def _replica_workers(self, cfg: ReplicaConfig) -> int:
        """Return how many workers share a micro-batch; it is one number for the whole run.

        It decides how an epoch is divided between workers, so it cannot change inside one.
        """
        if self.kind != "workers":
            if cfg.bas_replica_workers is not None:
                raise ValueError(
                    f"--bas-replica-workers {cfg.bas_replica_workers} has no meaning with "
                    f"--bas-placement {self.kind}; pass --bas-placement workers too"
                )
            return 1
        world, values = cfg.distributed_world_size, self.schedule.values
        shared = cfg.bas_replica_workers or math.gcd(world, *values)
        if shared < 2 or world % shared or any(m % shared for m in values):
            given = f"--bas-replica-workers {shared} " if cfg.bas_replica_workers else ""
            raise ValueError(
                f"--bas-placement workers {given}with --bas-replicas {self.schedule} does not fit "
                f"{world} worker{'s' * (world > 1)}: a number of at least 2 must divide both the "
                "workers and every M; change M, start that many workers, or pass "
                "--bas-placement passes"
            )
        return shared

    def _place(self, replicas: int) -> Placement:
        on_worker = replicas // self.workers
        rows = min(self.rows_per_pass or (1 if self.kind == "passes" else on_worker), on_worker)
        if on_worker % rows:
            raise ValueError(
                f"--bas-replicas-per-pass {rows} does not divide the {on_worker} copies that "
                f"--bas-replicas {self.schedule} gives each worker; choose a divisor of {on_worker}"
            )
        return Placement(replicas, self.workers, rows)
