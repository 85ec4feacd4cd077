"""Before each update: how far training has come, how large the update is, and what that is worth.

The planner holds the only counters of sentences and target tokens of a run; they are in the
checkpoint beside the position in the epoch. Everything it plans is a pure function of these
counters and of the controller's state, which all workers have alike.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..config import Clock
from ..data.epoch_rounds import EpochRounds
from .amount import Amount, BaseBatch
from .controller import BatchController, Measured
from .decision import Decision

START = Clock()


@dataclass(frozen=True)
class UpdatePlan:
    """Say what one update is.

    Args:
        clock: how far training had come when the update began.
        multiple: its planned batch as a multiple of the base batch, > 0.
        kappa: that batch as a multiple of the reference batch.
        lr_factor: what the base schedule's learning rate is multiplied by, besides any scaling
            with kappa.
        sentences: distinct sentences it holds, of all workers.
        target_tokens: their target tokens.
        rounds: micro-batches that each worker reads for it.
        adversarial_share: of its copies that are adversarial; None if the schedule does not say.
    """

    clock: Clock = START
    multiple: float = 1.0
    kappa: float = 1.0
    lr_factor: float = 1.0
    sentences: int = 0
    target_tokens: int = 0
    rounds: int = 1
    adversarial_share: float | None = None


class UpdatePlanner:
    """Plan update after update; see the module's docstring.

    Args:
        controller: decides batches.
        reference: the batch that kappa is 1 for, e.g. of a run whose settings are known to be good.

    Attributes:
        plan: of the update that is being made, or was made last.
        num_updates: tells how many updates the run has made; of the trainer.
        decay: tells, for a clock, the base learning rate as a share of its peak so far.
        replicas: tells, for a clock, M.
        measured_so_far: gives variance and squared gradient per target token from the micro-batches
            that the present update has, the same on all workers; None if they cannot tell.
    """

    def __init__(self, controller: BatchController, reference: Amount):
        self.controller = controller
        self.reference = reference
        self.plan = UpdatePlan()
        self.num_updates: Callable[[], int] = lambda: 0
        self.decay: Callable[[Clock], float] = lambda clock: 1.0
        self.replicas: Callable[[Clock], int] = lambda clock: 1
        self.measured_so_far: Callable[[], tuple[float, float] | None] = lambda: None
        self.base = BaseBatch(1.0, 1.0)
        self.kappa_of_base = 1.0
        self._epochs = 0
        self._seen = (0, 0)

    def bind(self, base: BaseBatch) -> None:
        """Take note of the base batch, the one of ``--max-tokens`` and ``--update-freq``."""
        self.base = base
        self.kappa_of_base = 1.0 / self.reference.multiple(base)
        self.controller.bind(base)

    def begin_epoch(self, epoch: int) -> None:
        """Set the clock's epoch; ``epoch`` counts from 1."""
        self._epochs = epoch - 1
        clock = dataclasses.replace(self.plan.clock, epochs=self._epochs)
        self.plan = dataclasses.replace(self.plan, clock=clock)

    def clock(self, rounds: EpochRounds, start: int) -> Clock:
        """Return how far training has come when round ``start`` of an epoch is next."""
        sentences, target_tokens = self._seen
        epochs = self._epochs + rounds.share(start)
        return Clock(self.num_updates(), epochs, sentences, target_tokens)

    def reference_updates(self, clock: Clock) -> float:
        """Return how many updates of the reference batch hold what has been seen at ``clock``."""
        value, unit = self.reference.value, self.reference.unit
        if unit == "s":
            return clock.sentences / value
        tokens = 1000 * value if unit == "kt" else value * self.base.target_tokens
        return clock.target_tokens / tokens

    def decide(self, clock: Clock) -> Decision:
        """Return the decision on the update that begins at ``clock``; it has no effect."""
        decay = self.decay(clock) if self.controller.follows_decay else 1.0
        return self.controller.decide(clock, decay)

    def next_stop(self, rounds: EpochRounds, start: int, chunk_size: int) -> int:
        """Return where the update that begins at round ``start`` ends; see ``EpochRounds.fill``.

        Args:
            rounds: of the epoch.
            start: round.
            chunk_size: rounds of the base batch.
        """
        multiple = self.decide(self.clock(rounds, start)).multiple
        unit = self.controller.unit
        if unit == "x":
            return rounds.fill(start, multiple * chunk_size, "x")
        size = self.base.sentences if unit == "s" else self.base.target_tokens
        return rounds.fill(start, multiple * size, "s" if unit == "s" else "t")

    def begin_update(self, rounds: EpochRounds, start: int, stop: int) -> None:
        """Fix the plan of the update that holds these rounds."""
        clock = self.clock(rounds, start)
        decision = self.decide(clock)
        sentences, target_tokens = rounds.amount(start, stop)
        self.plan = UpdatePlan(
            clock,
            decision.multiple,
            decision.multiple * self.kappa_of_base,
            decision.lr_factor,
            sentences,
            target_tokens,
            stop - start,
            self.controller.adversarial_share(clock),
        )
        self._seen = (self._seen[0] + sentences, self._seen[1] + target_tokens)

    @property
    def extends_updates(self) -> bool:
        """Tell whether an update takes more text until its gradient is good enough."""
        return self.controller.extends_update

    def is_enough(self, rounds: EpochRounds, start: int, stop: int, chunk_size: int) -> bool:
        """Tell whether rounds ``start`` to ``stop``, whose gradient is known, make up the update.

        Args:
            rounds: of the epoch.
            start: round.
            stop: round.
            chunk_size: rounds of the base batch.
        """
        if stop - start >= self.controller.bound() * chunk_size:
            return True
        found = self.measured_so_far()
        if found is None:
            return False
        variance, squared_gradient = found
        if not math.isfinite(variance + squared_gradient):
            return True  # it overflowed in half precision and will be skipped
        tokens = rounds.amount(start, stop)[1]
        return self.controller.passes(variance, squared_gradient, tokens)

    def extend_update(self, rounds: EpochRounds, stop: int) -> None:
        """Add round ``stop`` to the update that is being made."""
        sentences, target_tokens = rounds.amount(stop, stop + 1)
        self.plan = dataclasses.replace(
            self.plan,
            sentences=self.plan.sentences + sentences,
            target_tokens=self.plan.target_tokens + target_tokens,
            rounds=self.plan.rounds + 1,
        )
        self._seen = (self._seen[0] + sentences, self._seen[1] + target_tokens)

    def observe(self, measured: Measured) -> None:
        """Hand what an update measured, the same on all workers, to the controller."""
        self.controller.observe(measured)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the controller's state."""
        sentences, target_tokens = self._seen
        return {
            "sentences": sentences,
            "target_tokens": target_tokens,
            "controller": {self.controller.name: self.controller.state_dict()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where ``state_dict`` was taken; a new kind of controller starts afresh."""
        self._seen = (state_dict["sentences"], state_dict["target_tokens"])
        state = state_dict["controller"].get(self.controller.name)
        if state is not None:
            self.controller.load_state_dict(state)
