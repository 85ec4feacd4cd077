"""The table of a planned run: its updates, the stages they make up, and their totals.

A run may have a million updates. All of them are counted, and a number of rows that does not grow
with the run is kept: evenly spaced ones, and the first and the last one of every stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

ROWS = 2000
STAGES = 256
"""Rows and stages kept at most."""

_SAME_LR = 1e-12  # relative; rounding errors of a constant learning rate are smaller


class Row(NamedTuple):
    """Say what one update will be.

    Attributes:
        update: its number, from 1.
        epoch: from 1.
        sentences: distinct sentences it holds, of all workers.
        target_tokens: their target tokens.
        replicas: M.
        batch: the batch it was planned to have, as a multiple of the base batch.
        kappa: that batch as a multiple of the reference batch.
        lr: its learning rate.
        seen_tokens: distinct target tokens of the run up to its end.
    """

    update: int
    epoch: int
    sentences: int
    target_tokens: int
    replicas: int
    batch: float
    kappa: float
    lr: float
    seen_tokens: int


@dataclass(frozen=True)
class Stage:
    """Hold updates in a row of one batch and one M, in which the learning rate goes one way.

    Stages that were put together hold several of these.

    Attributes:
        first: its first update.
        last: its last update.
        updates: how many it has.
        sentences: distinct sentences of all of them.
        target_tokens: their target tokens.
        token_copies: the same with copies.
        batches: smallest and largest planned batch, as multiples of the base batch.
        replicas: smallest and largest M.
    """

    first: Row
    last: Row
    updates: int
    sentences: int
    target_tokens: int
    token_copies: int
    batches: tuple[float, float]
    replicas: tuple[int, int]

    def __add__(self, other: "Stage") -> "Stage":
        return replace(
            self,
            last=other.last,
            updates=self.updates + other.updates,
            sentences=self.sentences + other.sentences,
            target_tokens=self.target_tokens + other.target_tokens,
            token_copies=self.token_copies + other.token_copies,
            batches=(
                min(self.batches[0], other.batches[0]),
                max(self.batches[1], other.batches[1]),
            ),
            replicas=(
                min(self.replicas[0], other.replicas[0]),
                max(self.replicas[1], other.replicas[1]),
            ),
        )


@dataclass
class Totals:
    """Hold sums and extremes over all updates."""

    updates: int = 0
    sentences: int = 0
    target_tokens: int = 0
    token_copies: int = 0
    largest_batch: float = 0.0
    largest_kappa: float = 0.0
    largest_replicas: int = 1
    peak_lr: float = 0.0

    def add(self, row: Row) -> None:
        """Take one more update."""
        self.updates += 1
        self.sentences += row.sentences
        self.target_tokens += row.target_tokens
        self.token_copies += row.target_tokens * row.replicas
        self.largest_batch = max(self.largest_batch, row.batch)
        self.largest_kappa = max(self.largest_kappa, row.kappa)
        self.largest_replicas = max(self.largest_replicas, row.replicas)
        self.peak_lr = max(self.peak_lr, row.lr)


class PlanTable:
    """Take the updates of a run one after the other.

    Args:
        rows: kept at most, >= 4.
        stages: kept at most; where there are more, neighbours are put together.

    Attributes:
        totals: over all updates.

    >>> table = PlanTable()
    >>> for update, lr in enumerate((0.0, 0.1, 0.2, 0.1), start=1):
    ...     table.add(Row(update, 1, 8, 100, 1, 1.0, 1.0, lr, 100 * update))
    >>> [(stage.first.lr, stage.last.lr) for stage in table.stages]
    [(0.0, 0.2), (0.1, 0.1)]
    """

    def __init__(self, rows: int = ROWS, stages: int = STAGES):
        self.totals = Totals()
        self._limit, self._stage_limit = rows, stages
        self._spaced: list[Row] = []
        self._stride = 1
        self._closed: list[Stage] = []
        self._open: Row | None = None  # first update of the stage that goes on
        self._before = Totals()  # totals when it began
        self._last: Row | None = None
        self._direction: int | None = None

    def add(self, row: Row) -> None:
        """Take the next update."""
        if self._begins_stage(row):
            self._close()
            self._open, self._before = row, replace(self.totals)
            self._direction = None
        self.totals.add(row)
        self._last = row
        if (row.update - 1) % self._stride == 0:
            self._spaced.append(row)
            if len(self._spaced) > self._limit // 2:
                self._stride *= 2
                self._spaced = self._spaced[::2]

    def _begins_stage(self, row: Row) -> bool:
        last = self._last
        if last is None or row.batch != last.batch or row.replicas != last.replicas:
            return True
        change = row.lr - last.lr
        is_same = abs(change) <= _SAME_LR * abs(last.lr)
        direction = 0 if is_same else (1 if change > 0 else -1)
        if self._direction is None:
            self._direction = direction
        return direction != self._direction

    def _close(self) -> None:
        stage = self._going_on()
        if stage is not None:
            self._closed.append(stage)
            if len(self._closed) > self._stage_limit:
                self._closed = put_together(self._closed, self._stage_limit // 2)

    def _going_on(self) -> Stage | None:
        if self._open is None or self._last is None:
            return None
        before, now = self._before, self.totals
        return Stage(
            self._open,
            self._last,
            now.updates - before.updates,
            now.sentences - before.sentences,
            now.target_tokens - before.target_tokens,
            now.token_copies - before.token_copies,
            (self._open.batch, self._open.batch),
            (self._open.replicas, self._open.replicas),
        )

    @property
    def stages(self) -> list[Stage]:
        """Return the stages so far."""
        going_on = self._going_on()
        return [*self._closed, *([going_on] if going_on is not None else [])]

    @property
    def rows(self) -> list[Row]:
        """Return the rows that were kept, in order."""
        room = (self._limit - len(self._spaced)) // 2
        edges = put_together(self.stages, room)
        kept = {row.update: row for stage in edges for row in (stage.first, stage.last)}
        kept.update((row.update, row) for row in self._spaced)
        return [kept[update] for update in sorted(kept)]


def put_together(stages: Sequence[Stage], limit: int) -> list[Stage]:
    """Put neighbours together, evenly, so that few stages are left.

    Args:
        stages: in order.
        limit: stages wanted at most, >= 1.

    Returns:
        The stages themselves if they are few enough.
    """
    size = -(-len(stages) // limit)
    groups = [stages[start : start + size] for start in range(0, len(stages), size)] if size else []
    return [sum(group[1:], start=group[0]) for group in groups]
