"""The part of an update that is about adversarial copies."""

import dataclasses
import functools

from ..errors import refuse_with
from .adversarial_checks import (
    check_backend,
    check_copies,
    check_criterion,
    check_first_pass,
    check_model,
)
from .adversarial_plan import AdversarialPlan
from .adversary import Adversary
from .attack import attack


class AdversarialUpdate:
    """Attack copies before the passes that train on them; ``ReplicatedUpdate`` is built on it.

    Attributes:
        has_source: the model reads a source besides what its decoder reads.
    """

    has_source = True

    def plan_adversary(self, cfg):
        """Read the flags; it may set how many copies a pass holds, so read those after it.

        Raises:
            ValueError: one sentence, if a flag is out of range or has no meaning.
        """
        self.adversarial_plan = AdversarialPlan(cfg, self.has_source)
        self.adversarial_plan.choose_passes(cfg)
        self.adversary = Adversary(self.adversarial_plan, cfg.seed)

    def check_adversary(self, cfg):
        """Refuse copies and noise that the attack cannot work on.

        Raises:
            ValueError: one sentence.
        """
        offset_copies = getattr(cfg, "bas_offset_copies", False)
        check_copies(self.adversarial_plan, self.replica_plan, self.noise_plan, offset_copies)

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model, and refuse one whose embeddings cannot be reached."""
        model = super().build_model(cfg, from_checkpoint)
        with refuse_with():
            check_model(self.adversarial_plan, model, cfg._name)
        return model

    def build_criterion(self, cfg, *args, **kwargs):
        """Build the loss, and refuse one that does not go with adversarial copies."""
        criterion = super().build_criterion(cfg, *args, **kwargs)
        with refuse_with():
            check_criterion(self.adversarial_plan, self.replica_plan, criterion)
        return criterion

    def begin_run(self, trainer):
        """Refuse a data-parallel wrapper that attacks cannot do without."""
        with refuse_with():
            backend = str(trainer.cfg.distributed_training.ddp_backend)
            check_backend(self.adversarial_plan, backend)

    def begin_epoch(self, epoch, model):
        """Refuse a share of the batch schedule that leaves free attacks no clean pass."""
        super().begin_epoch(epoch, model)
        share = self.scheduled_share()
        if share is not None:
            with refuse_with():
                check_first_pass(self.adversarial_plan, self.replica_plan, share)

    def scheduled_share(self):
        """Return the share of adversarial copies that the batch schedule begins with, or None."""
        planner = self.large_batch.planner
        return planner.controller.adversarial_share(planner.plan.clock)

    def adversarial_share(self, update_num=None):
        """Return the share of the copies that are adversarial in an update, by default the next.

        It is what the batch schedule says, if it says any, and ``--bas-adversarial-share`` if not.
        """
        planner = self.large_batch.planner
        if planner.plan.adversarial_share is not None:
            return planner.plan.adversarial_share
        clock = planner.plan.clock
        if update_num is not None:
            clock = dataclasses.replace(clock, updates=update_num)
        return self.adversarial_plan.share.at(clock)

    def _perturb(self, copies, model, loss_of, optimizer, ignore_grad):
        """Choose the adversarial copies of a pass, and let their embeddings be moved.

        Returns:
            How many there are, as a 0-dim tensor.
        """
        share = self.adversarial_share(copies["update_num"])
        self.adversary.choose(copies, share)
        if not ignore_grad:
            attack_once = functools.partial(attack, model, loss_of, optimizer, self._in_model)
            self.adversary.prepare(copies, self.copy_noise.padding, share, model, attack_once)
        return copies["adversarial"].sum()

    def optimizer_step(self, optimizer, model, update_num):
        """Take the step; keep the parameters as they were, where later attacks want them."""
        self.adversary.before_step(model, update_num)
        super().optimizer_step(optimizer, model, update_num)
