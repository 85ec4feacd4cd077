"""Make the adversarial copies of a pass, before the pass that trains on them.

Shapes: B sentences, R copies of each in the pass, T tokens, H hidden.
"""

import functools
import math
from collections.abc import Callable

import torch
from fairseq.logging import metrics
from torch import Tensor, nn

from ..criterion.replica_log import REPLICA_KEY
from ..model.unwrap import unwrapped
from ..noise.adversarial import adversarial_copies, adversarial_rows
from ..noise.keyed import row_keys
from ..replicate import Sample, sentence_major
from .adversarial_plan import AdversarialPlan
from .perturbation import Bound, Perturbation
from .stale_parameters import StaleParameters


class Adversary:
    """Choose the adversarial copies of a run, and find the perturbations that they train on.

    Attributes:
        stale: the parameters of some updates ago, part of a checkpoint.

    Args:
        plan: the ``AdversarialPlan``.
        seed: the run's ``--seed``.
    """

    def __init__(self, plan: AdversarialPlan, seed: int):
        self.plan = plan
        self.seed = seed
        self.stale = StaleParameters(plan.staleness)
        self._bound = Bound(plan.size, plan.step_size, plan.norm)
        # What the first pass of the micro-batch has left, by side: (B, T, H).
        self._left: dict[str, Tensor] | None = None

    def begin(self) -> None:
        """Begin a micro-batch."""
        self._left = None

    def choose(self, copies: Sample, share: float) -> None:
        """Tell ``copies`` which of their rows are ``adversarial``: bool, by row."""
        # Other noise draws from the same stream under other names.
        keys = row_keys(
            self.seed, "target_noise", copies["update_num"], copies["id"], copies["replica"]
        )
        copies["adversarial"] = adversarial_rows(keys, share, copies["num_replicas"])

    def prepare(
        self,
        copies: Sample,
        padding: int,
        share: float,
        model: nn.Module,
        attack: Callable[[Sample], None],
    ) -> None:
        """Give ``copies`` the ``perturbations`` of the pass that trains, by side.

        Args:
            copies: of one pass, with ``adversarial``; changed in place.
            padding: id of the padding symbol.
            share: of the copies that are adversarial.
            model: a fairseq model, wrapped or not.
            attack: runs an attack on copies.
        """
        if self.plan.kind == "free" and self._left is None:
            copies["perturbations"] = self._perturbations(copies, padding, watching=True)
        elif _may_be_adversarial(copies, share):
            perturbations = self._perturbations(copies, padding, watching=self.plan.steps > 0)
            copies["perturbations"] = perturbations
            for step in range(1, self.plan.steps + 1):
                with self.stale.in_place_of(copies["update_num"], _trained(model)):
                    attack(copies)
                for perturbation in perturbations.values():
                    perturbation.learn(watch_on=step < self.plan.steps)

    def after_pass(self, copies: Sample) -> None:
        """Take the gradient that a first pass has left for the others of its micro-batch."""
        if self.plan.kind != "free" or self._left is not None:
            return
        self._left = {}
        for side, perturbation in copies.get("perturbations", {}).items():
            gradient = perturbation.learn()
            if gradient is not None:
                by_copy = sentence_major(gradient, copies["row"], copies["rows_per_sentence"])
                wide = torch.promote_types(gradient.dtype, torch.float32)
                self._left[side] = by_copy.mean(1, dtype=wide)

    def before_step(self, model: nn.Module, update_num: int) -> None:
        """Keep the parameters as they are before a step, where later attacks want them."""
        if self.plan.staleness:
            self.stale.keep(update_num, _trained(model))

    def _perturbations(
        self, copies: Sample, padding: int, watching: bool
    ) -> dict[str, Perturbation]:
        sentence = copies["row"] // copies["rows_per_sentence"]
        make = functools.partial(Perturbation, self._bound, copies["adversarial"], padding)
        left = {side: gradient[sentence] for side, gradient in (self._left or {}).items()}
        return {side: make(left.get(side), watching) for side in self.plan.sides}


def log_adversarial(logs, share: float) -> None:
    """Log the share of copies that were adversarial, and how much higher their loss is.

    ``bas_adversarial_gap`` is the mean nll of the copies that are adversarial in every sentence
    minus that of those that are in none (base 2, a target token): where there are both, and with
    ``bas_cross_entropy``, which logs the nll of each copy.

    Args:
        logs: the logging outputs of an update.
        share: of its copies that are adversarial.
    """
    rows = sum(log["bas_rows"] for log in logs)
    adversarial = sum(log["bas_adversarial"] for log in logs)
    metrics.log_scalar("bas_adversarial_share", adversarial / rows, rows, round=3)
    keys = [key for key in logs[0] if key.startswith(REPLICA_KEY)]
    least, greatest = adversarial_copies(share, len(keys))
    tokens = sum(log["ntokens"] for log in logs)
    if tokens > 0 and least > 0 and greatest < len(keys):
        nll = [sum(log[f"{REPLICA_KEY}{m}"] for log in logs) for m in range(len(keys))]
        clean, moved = nll[: len(keys) - greatest], nll[len(keys) - least :]
        gap = (sum(moved) / len(moved) - sum(clean) / len(clean)) / tokens / math.log(2)
        metrics.log_scalar("bas_adversarial_gap", gap, tokens, round=4)


def _may_be_adversarial(copies: Sample, share: float) -> bool:
    """Tell whether a row of the pass is adversarial; ask the device only where it is not known."""
    least, greatest = adversarial_copies(share, copies["num_replicas"])
    first = copies["num_replicas"] - greatest
    if copies["replicas"].stop <= first:
        return False
    return copies["replicas"].stop > copies["num_replicas"] - least or bool(
        copies["adversarial"].any()
    )


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in unwrapped(model).parameters() if parameter.requires_grad]
