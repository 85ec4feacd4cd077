"""Go through a run update by update without training: batch, copies and learning rate of each.

What decides an update is the code of training itself: the planner, on the sizes of the
micro-batches, the schedule of copies and the scheduler of the learning rate. No text is loaded.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from fairseq.data.iterators import CountingIterator

from ..batching.amount import BaseBatch, parse_amount
from ..batching.planner import UpdatePlanner
from ..batching.policy import parse_batch_schedule
from ..config import Clock
from ..data.epoch_rounds import EpochRounds
from ..data.growing_iterator import GrowingIterator
from ..data.train_iterator import TrainIterator
from ..task.batch_checks import base_batch
from ..task.large_batch import LargeBatch
from .plan_outlook import Outlook, measured_parts
from .plan_setup import PlannedSetup, plain
from .plan_table import PlanTable, Row

EPOCHS_OF_AN_ENDLESS_RUN = 10


@dataclass
class Course:
    """Hold how a run goes.

    Attributes:
        outlook: what was assumed of measurements, ``low`` or ``high``; None if nothing is measured.
        table: its updates.
        end: the clock after the last one.
        schedule_end: updates of the reference batch that the learning rate's clock then shows.
        largest_rounds: micro-batches of each worker in the largest update.
        is_cut: True if the run has no end and the plan has.
        largest_clock: the clock at an update with the largest M.
    """

    outlook: str | None
    table: PlanTable = field(default_factory=PlanTable)
    end: Clock = field(default_factory=Clock)
    schedule_end: float = 0.0
    largest_rounds: int = 1
    is_cut: bool = False
    largest_clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True)
class Plan:
    """Hold a planned run.

    Attributes:
        setup: what it is made of.
        iterator: over the training set.
        planner: of the last course, bound to the base batch.
        scheduler: of the last course.
        measured: what measurements decide, each as a clause.
        courses: how it goes: one, or the two ends where something is measured.
    """

    setup: PlannedSetup
    iterator: TrainIterator
    planner: UpdatePlanner
    scheduler: Any
    measured: list[str]
    courses: list[Course]

    @property
    def base(self) -> BaseBatch:
        """Return the base batch."""
        return self.planner.base


def plan(setup: PlannedSetup) -> Plan:
    """Plan a run, both ends of it where measurements decide.

    Args:
        setup: what the run is made of.

    Raises:
        ValueError: if an epoch holds no update.
        UserError: for what training would refuse.
    """
    walk = _Walk(setup, None)
    measured = measured_parts(walk.large_batch, walk.scheduler)
    if not measured:
        walks = [walk]
    else:
        walks = [_Walk(setup, Outlook(is_high)) for is_high in (False, True)]
    courses = [each.go() for each in walks]
    last = walks[-1]
    return Plan(setup, last.iterator, last.planner, last.scheduler, measured, courses)


class _Walk:
    """Go through a run once, from a fresh state.

    Args:
        setup: what the run is made of.
        outlook: what to tell in place of measurements.
    """

    def __init__(self, setup: PlannedSetup, outlook: Outlook | None):
        self.setup, self.outlook = setup, outlook
        self.course = Course(outlook.name if outlook is not None else None)
        self.optimization = plain(setup.cfg.optimization)
        self.max_update = self.optimization.max_update or math.inf
        self.num_updates = 0
        task = setup.task
        self.large_batch: LargeBatch | None = None
        if hasattr(task, "large_batch"):
            task.large_batch = self.large_batch = LargeBatch(task.cfg, task.replica_plan)
            self.planner = self.large_batch.planner
        else:
            self.planner = UpdatePlanner(parse_batch_schedule("1x"), parse_amount("1x"))
        self.iterator = self._iterator(epoch=1)
        self.scheduler = setup.scheduler()
        self._connect()

    def _connect(self) -> None:
        trainer = self.setup.trainer(self.scheduler, lambda: self.num_updates)
        if self.large_batch is not None:
            self.large_batch.begin_run(self.setup.task, trainer)
        elif hasattr(self.scheduler, "begin_run"):
            self.scheduler.begin_run(self.setup.task)
        self.planner.num_updates = lambda: self.num_updates
        if self.outlook is not None:
            self.planner.measured_so_far = self.outlook.so_far

    def _iterator(self, epoch: int) -> TrainIterator:
        iterator = self.setup.iterator(epoch)
        if self.large_batch is None and self.planner.base.grain == 0:
            self.planner.bind(base_batch(iterator, self._chunk_size(1)))
        return iterator

    def _chunk_size(self, epoch: int) -> int:
        """Return the micro-batches of each worker in an update of plain fairseq."""
        update_freq = self.optimization.update_freq
        return int(update_freq[min(epoch, len(update_freq)) - 1])

    def go(self) -> Course:
        """Make all updates."""
        optimization = self.optimization
        last_epoch = optimization.max_epoch or math.inf
        if not optimization.max_epoch and not optimization.max_update:
            last_epoch = EPOCHS_OF_AN_ENDLESS_RUN
        epoch = 1
        while epoch <= last_epoch and self.scheduler.optimizer.get_lr() > optimization.stop_min_lr:
            if epoch > 1:
                self.iterator = self._iterator(epoch)
            before = self.num_updates
            if self._epoch(epoch):
                return self.course
            if self.num_updates == before:
                raise ValueError(
                    "an epoch holds no whole update, as --skip-remainder-batch leaves out what is "
                    "smaller; leave it out, or lower --update-freq"
                )
            self.scheduler.step(epoch, None)
            self.scheduler.step_update(self.num_updates)
            epoch += 1
        self.course.is_cut = not optimization.max_epoch and epoch > last_epoch
        return self.course

    def _epoch(self, epoch: int) -> bool:
        """Make the updates of an epoch; return whether the run ends in it."""
        self.planner.begin_epoch(epoch)
        if hasattr(self.scheduler, "step_begin_epoch"):
            self.scheduler.step_begin_epoch(epoch)
        self.scheduler.step_update(self.num_updates)
        rounds = self._rounds(epoch)
        readable = CountingIterator(range(len(rounds)))
        if self.iterator.skip_remainder_batch:
            readable.take(len(rounds) - 1)
        updates = GrowingIterator(
            planner=self.planner,
            rounds=rounds,
            merge=None,
            micro_batches=readable,
            chunk_size=self._chunk_size(epoch),
            skip_remainder_batch=self.optimization.skip_remainder_batch,
        )
        is_over = False
        for update in updates:
            self._update(epoch, update)
            is_over = self._is_over()
            if is_over:
                break
        self._note_end(rounds, readable.n)
        return is_over

    def _rounds(self, epoch: int) -> EpochRounds:
        cfg, iterator = self.setup.cfg, self.iterator
        if hasattr(iterator.dataset, "set_epoch"):
            iterator.dataset.set_epoch(epoch)
        shuffle = epoch > cfg.dataset.curriculum and not iterator.disable_shuffling
        return iterator.rounds(epoch, shuffle, cfg.distributed_training.fix_batches_to_gpus)

    def _update(self, epoch: int, micro_batches: Any) -> None:
        """Make an update: the calls of a real one, in their order."""
        self.scheduler.step_update(self.num_updates)
        lr = float(self.scheduler.optimizer.get_lr())
        for _ in micro_batches:  # an update that is extended grows while one goes through it
            pass
        plan, table = self.planner.plan, self.course.table
        replicas = self.planner.replicas(plan.clock)
        if replicas > table.totals.largest_replicas:
            self.course.largest_clock = plan.clock
        self.course.largest_rounds = max(self.course.largest_rounds, plan.rounds)
        self.num_updates += 1
        table.add(
            Row(
                self.num_updates,
                epoch,
                plan.sentences,
                plan.target_tokens,
                replicas,
                plan.multiple * self._chunk_size(epoch) / self._chunk_size(1),
                plan.kappa,
                lr,
                table.totals.target_tokens + plan.target_tokens,
            )
        )
        if self.outlook is not None:
            self.outlook.after_update(self.large_batch, self.scheduler, self.num_updates, lr)
        if hasattr(self.scheduler, "observe_update"):
            self.scheduler.observe_update()

    def _note_end(self, rounds: EpochRounds, position: int) -> None:
        self.course.end = end = self.planner.clock(rounds, position)
        by_scheduler = getattr(self.scheduler, "base_clock", None)
        self.course.schedule_end = end.updates if by_scheduler is None else by_scheduler(end)

    def _is_over(self) -> bool:
        return self.num_updates >= self.max_update or getattr(self.scheduler, "finished", False)
