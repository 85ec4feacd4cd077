"""The course of one training run: validation losses, target tokens seen, time spent."""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

_NAN = float("nan")


@dataclass(frozen=True)
class ValidPoint:
    """One validation.

    Args:
        updates: updates before it.
        loss: the criterion's loss, bits a target token (with label smoothing, if any).
        nll_loss: loss without label smoothing, bits a target token; ``loss`` where the criterion
            logs no other.
        ppl: perplexity; NaN if not logged.
    """

    updates: int
    loss: float
    nll_loss: float
    ppl: float


@dataclass(frozen=True)
class Progress:
    """What a run has done up to some update, summed from the first.

    Args:
        updates: updates.
        tokens: distinct target tokens seen, each epoch anew.
        replicated_tokens: the same with every copy counted.
        seconds: time spent in updates; each log line rounds it to a whole second.
    """

    updates: int
    tokens: float
    replicated_tokens: float
    seconds: float


@dataclass(frozen=True)
class RunLog:
    """What the log of one run tells.

    Args:
        valid: validations in the order of their updates.
        progress: from update 0 on, wherever the log tells; the last one is that of the last
            ``train_inner`` or ``train`` line.
        replicas: M at the last of these lines, 1 for a run without copies.
    """

    valid: tuple[ValidPoint, ...]
    progress: tuple[Progress, ...]
    replicas: float

    @property
    def updates(self) -> int:
        """Return the last update that the log knows of."""
        return max([self.total.updates, *(point.updates for point in self.valid)])

    @property
    def total(self) -> Progress:
        """Return the progress at the last ``train_inner`` or ``train`` line."""
        return self.progress[-1]

    @property
    def train_minutes(self) -> float:
        """Return the minutes spent in updates by all processes of the run."""
        return self.total.seconds / 60

    @property
    def best(self) -> ValidPoint | None:
        """Return the first validation with the lowest loss, None without a finite loss."""
        finite = [point for point in self.valid if math.isfinite(point.loss)]
        return min(finite, key=lambda point: point.loss, default=None)

    def at(self, updates: int) -> Progress:
        """Return the progress at an update, between two log lines by linear interpolation.

        Args:
            updates: update, >= 0.

        Returns:
            The progress; all NaN but ``updates`` beyond the last ``train_inner`` or ``train`` line.

        Example:
            >>> log = RunLog((), (Progress(0, 0, 0, 0), Progress(10, 500, 1000, 20)), replicas=2)
            >>> log.at(4)
            Progress(updates=4, tokens=200.0, replicated_tokens=400.0, seconds=8.0)
        """
        index = bisect_left([point.updates for point in self.progress], updates)
        if index == len(self.progress):
            return Progress(updates, _NAN, _NAN, _NAN)
        after = self.progress[index]
        if after.updates == updates:
            return after
        before = self.progress[index - 1]
        share = (updates - before.updates) / (after.updates - before.updates)
        return Progress(
            updates,
            before.tokens + share * (after.tokens - before.tokens),
            before.replicated_tokens + share * (after.replicated_tokens - before.replicated_tokens),
            before.seconds + share * (after.seconds - before.seconds),
        )

    def until(self, updates: int) -> "RunLog":
        """Return the log as it was after an update.

        Args:
            updates: update, >= 0.

        Returns:
            The log without what came later; all of it if it ends earlier.
        """
        progress = [point for point in self.progress if point.updates < updates]
        if updates <= self.total.updates:
            progress.append(self.at(updates))
        valid = tuple(point for point in self.valid if point.updates <= updates)
        return replace(self, valid=valid, progress=tuple(progress))

    def updates_to_reach(self, loss: float) -> float | None:
        """Return when the validation loss first was as low as ``loss``.

        Between the validation before and the one at which it was, the loss is taken for linear in
        updates.

        Args:
            loss: loss to reach, bits a target token.

        Returns:
            Updates; those of the first validation if that is as low already; None if no validation
            is.

        Example:
            >>> valid = (ValidPoint(40, 8.0, 8.0, 256.0), ValidPoint(80, 7.0, 7.0, 128.0))
            >>> log = RunLog(valid, (Progress(0, 0, 0, 0),), replicas=1)
            >>> log.updates_to_reach(7.25), log.updates_to_reach(9.0), log.updates_to_reach(6.9)
            (70.0, 40.0, None)
        """
        before: ValidPoint | None = None
        for point in self.valid:
            if point.loss <= loss:
                if before is None or not math.isfinite(before.loss):
                    return float(point.updates)
                share = (before.loss - loss) / (before.loss - point.loss)
                return before.updates + share * (point.updates - before.updates)
            before = point
        return None
