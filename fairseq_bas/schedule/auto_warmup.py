"""Automatic warm-up (AutoWU): grow the learning rate until the loss says stop, then decay it.

Kim et al. 2021, "Automated Learning Rate Scheduler for Large-batch Training" (arXiv 2107.05855).
Three things differ from its code. A warm-up that ends at its limit takes a learning rate by the
smoothed loss too, not simply the largest one. A loss that explodes ends the warm-up at once. And
that learning rate is, unless asked for, not the one of the lowest loss but of its fastest fall: at
the start of training the loss goes on falling far beyond the best learning rate.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from .auto_warmup_settings import WarmupSettings
from .loss_trend import loss_trend

Due = Literal["test", "limit", "broken"]

CAPACITY = 4096
"""Losses kept at most; where there are more, every second, then every fourth update is kept."""

FEW = 10
"""Losses too few for a test; also how many first ones say what an explosion is."""

EXPLOSION = 2.0
"""The loss has exploded if it is this many times the largest of the first losses."""

_LAST_SHARE = 0.2


@dataclass(frozen=True)
class Verdict:
    """The answer of a test.

    Args:
        passed: whether the smoothed loss has had its minimum.
        lr: learning rate where it was lowest or fell fastest, the mean over several fits.
    """

    passed: bool
    lr: float


class AutoWarmup:
    """The state of an automatic warm-up; the learning rate is a function of it and of the update.

    After each update, `observe` its loss. Where that returns a reason, ask for a `judge`'s verdict
    and `accept` it; several workers accept the verdict of one of them.

    Args:
        settings: what the user asks for.

    Example:
        >>> warmup = AutoWarmup(WarmupSettings(total=100, min_lr=1e-4, max_lr=1e-2))
        >>> warmup.observe(1, 5.0), warmup.observe(2, math.inf)
        (None, 'broken')
        >>> warmup.accept("broken", warmup.judge("broken"))
        True
        >>> f"{warmup.lr(2):.2e} {warmup.lr(51):.2e}"  # half of what broke it, then cosine
        '5.48e-05 2.74e-05'
    """

    def __init__(self, settings: WarmupSettings):
        self.settings = settings
        self.updates: list[int] = []
        self.losses: list[float] = []
        self.stride = 1  # only updates that are multiples of it are kept
        self.seen = 0  # the last update observed
        self.count = 0  # losses observed
        self.largest_at_first = -math.inf
        self.successes = 0  # tests in a row that agreed
        self.switched_at: int | None = None
        self.peak: float | None = None

    @property
    def warming_up(self) -> bool:
        """Whether the learning rate is still growing."""
        return self.switched_at is None

    def lr(self, num_updates: int) -> float:
        """Return the learning rate of the next update.

        Args:
            num_updates: updates made so far, >= 0.
        """
        if self.switched_at is None or self.peak is None:
            return self.settings.ramp(num_updates)
        if self.settings.decay == "constant":
            return self.peak
        start, total = self.switched_at, self.settings.total
        if self.settings.decay == "constant-cosine":
            start = max(start, round((1 - _LAST_SHARE) * total))
        if num_updates <= start:
            return self.peak
        share = min(1.0, (num_updates - start) / max(1, total - start))
        return self.peak * 0.5 * (1 + math.cos(math.pi * share))

    def observe(self, num_updates: int, loss: float) -> Due | None:
        """Take note of the loss of an update.

        Args:
            num_updates: updates made, this one counted; one that was observed before is ignored.
            loss: mean nats a target token, before the update changed the weights.

        Returns:
            Why a verdict is due: ``test`` every so many updates; ``limit`` after the longest
            warm-up; ``broken`` for a loss that is not finite or twice what it was at first; else
            None.
        """
        if self.switched_at is not None or num_updates <= self.seen:
            return None
        self.seen = num_updates
        if self._is_broken(loss):
            return "broken"
        self._keep(num_updates, loss)
        if num_updates >= self.settings.limit:
            return "limit"
        tested = num_updates % self.settings.interval == 0 and len(self.losses) >= FEW
        return "test" if tested else None

    def _is_broken(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return True
        if self.count >= FEW:
            return loss > EXPLOSION * self.largest_at_first
        self.largest_at_first = max(self.largest_at_first, loss)
        return False

    def _keep(self, num_updates: int, loss: float) -> None:
        self.count += 1
        if num_updates % self.stride:
            return
        self.updates.append(num_updates)
        self.losses.append(loss)
        if len(self.losses) > CAPACITY:
            self.stride *= 2
            kept = [i for i, update in enumerate(self.updates) if update % self.stride == 0]
            self.updates = [self.updates[i] for i in kept]
            self.losses = [self.losses[i] for i in kept]

    def judge(self, due: Due) -> Verdict:
        """Smooth the losses observed and return what they say.

        Args:
            due: what `observe` returned. A learning rate that broke the loss is halved, if the
                lowest loss was not at less than half of it.
        """
        # Update u was made at the learning rate after u - 1 updates.
        now = self.settings.ramp(self.seen - 1)
        passed = False
        if len(self.losses) >= FEW:
            key = (self.settings.seed, self.seen)
            trend = loss_trend([u - 1 for u in self.updates], self.losses, key)
            passed = trend.passed_minimum
            by_fall = self.settings.choice == "fastest" and trend.fell_twice
            steps = trend.falls if by_fall else trend.argmins
            rates = [self.settings.ramp(step) for step in steps]
            lr = math.fsum(rates) / len(rates)
        else:
            lowest = min(zip(self.losses, self.updates, strict=True), default=(0.0, self.seen))
            lr = self.settings.ramp(lowest[1] - 1)
        return Verdict(passed, min(lr, now / 2) if due == "broken" else lr)

    def accept(self, due: Due, verdict: Verdict) -> bool:
        """Act on a verdict.

        Args:
            due: what `observe` returned.
            verdict: what `judge` returned, here or on another worker.

        Returns:
            Whether the warm-up ends with the last update observed.
        """
        if due == "test":
            self.successes = self.successes + 1 if verdict.passed else 0
            if self.successes < self.settings.patience:
                return False
        self.switched_at, self.peak = self.seen, verdict.lr
        self.updates, self.losses = [], []
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, and the ramp that the losses belong to."""
        state = {name: value for name, value in vars(self).items() if name != "settings"}
        state["updates"], state["losses"] = list(self.updates), list(self.losses)
        return {**state, "ramp": self._ramp()}

    def _ramp(self) -> list[float]:
        return [self.settings.min_lr, self.settings.max_lr, self.settings.limit]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: if the warm-up has not ended and the settings give it another ramp.
        """
        state = dict(state)
        ramp = state.pop("ramp")
        if state["switched_at"] is None and ramp != self._ramp():
            before, now = (
                f"{r[0]:g} to {r[1]:g} in {r[2]:g} updates" for r in (ramp, self._ramp())
            )
            raise ValueError(
                f"the checkpoint is in a warm-up from {before}, the flags ask for {now}; resume "
                "with the --lr, --max-update and --bas-autowu-* of before, or begin anew with "
                "--reset-lr-scheduler"
            )
        vars(self).update(state)
        self.updates, self.losses = list(state["updates"]), list(state["losses"])
