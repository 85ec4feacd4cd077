"""One update of a replicated batch, whole: from the micro-batch to its averaged gradient.

For each micro-batch, each worker runs its passes; a pass copies the sentences, gives every copy its
noise, seeds the model's own noise with the key of its replicas, and runs forward and backward on
the loss divided by M. A loss that compares copies which are not in one pass gets the features of
all of them from a first round of passes without gradient. Adversarial copies are attacked before
the pass that trains on them.
Gradients add up over passes, micro-batches and workers; the trainer divides by the number of
distinct target tokens (or sentences). So the gradient is the mean over replicas of the plain one.
"""

import dataclasses

import torch
from fairseq.logging import metrics
from fairseq.optim.amp_optimizer import AMPOptimizer

from ..data.select_replicas import select_replicas
from ..errors import refuse_with
from ..model.layer_drop import make_layer_drop_keyed, set_layer_drop_keys
from ..model.shared_trunk import shared_inputs
from ..noise.distinct import count_distinct
from ..replicate import replicate
from ..rng import derive_seed
from ..seeding import seed_generators
from .adversarial_update import AdversarialUpdate
from .adversary import log_adversarial
from .copy_noise import CopyNoise
from .large_batch import LargeBatch
from .noise_config import NoisePlan
from .pass_results import LossOverReplicas, add_up, average, no_gradient_traffic, with_rows
from .recipe import expand_recipe
from .replica_config import ReplicaPlan
from .run_summary import log_run_summary
from .training_batches import TrainingBatches


class ReplicatedUpdate(TrainingBatches, AdversarialUpdate):
    """Make any fairseq task train on M noised copies of every sentence.

    Put it before a ``FairseqTask`` in the bases of a task whose config includes ``ReplicaConfig``,
    ``NoiseConfig``, ``RecipeConfig`` and ``BatchConfig``. Where there is noise of ours, the task
    sets ``copy_noise`` when it loads the training set. Validation and generation are the task's.
    """

    def __init__(self, cfg, *args, **kwargs):
        expand_recipe(cfg)
        super().__init__(cfg, *args, **kwargs)
        with refuse_with():
            self.plan_adversary(cfg)
            self.replica_plan = ReplicaPlan(cfg)
            largest = self.replica_plan.largest().replicas
            self.noise_plan = NoisePlan(cfg, largest, getattr(cfg, "load_alignments", False))
            self.check_adversary(cfg)
            self.large_batch = LargeBatch(cfg, self.replica_plan)
        self.copy_noise = CopyNoise(self.noise_plan, cfg.seed)
        self._layer_drops = []
        self._summarised = False

    def begin_epoch(self, epoch, model):
        """Set the epoch of the clock; say once what the run will do."""
        super().begin_epoch(epoch, model)
        self.large_batch.planner.begin_epoch(epoch)
        if not self._summarised:
            log_run_summary(self, self._train_iterator)
            self._summarised = True

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model; let passes share LayerDrop's choice if that was asked for."""
        model = super().build_model(cfg, from_checkpoint)
        if self.noise_plan.masks_by_update:
            self._layer_drops = make_layer_drop_keyed(model)
        return model

    # -- one update ---------------------------------------------------------------------------

    def begin_run(self, trainer):
        """Get to know the trainer; ``run_hooks`` calls it."""
        super().begin_run(trainer)
        self.large_batch.begin_run(self, trainer)

    def before_update(self, trainer, samples):
        """Set what follows from the batch of the update that is next; ``run_hooks`` calls it."""
        self.large_batch.before_update(trainer, len(samples))

    def clip_norm(self, clip_norm):
        """Return the norm to clip the gradient at; ``run_hooks`` calls it."""
        return self.large_batch.clip_norm(clip_norm)

    def observe_gradient_norm(self, norm):
        """Take the norm of the gradient before clipping; ``run_hooks`` calls it."""
        self.large_batch.observe_gradient_norm(norm)

    def placement(self, update_num):
        """Return the placement of the copies in the update after ``update_num`` updates."""
        clock = dataclasses.replace(self.large_batch.planner.plan.clock, updates=update_num)
        return self.replica_plan.at(clock)

    def train_step(
        self, sample, model, criterion, optimizer, update_num, ignore_grad=False, **kwargs
    ):
        """Add the gradient of one micro-batch, averaged over its copies.

        Returns:
            The loss, ``sample_size`` and logging output, each summed over this worker's copies and
            divided by M, so that sums over workers are those of M = 1.
        """
        if self.noise_plan.masks_by_update:
            set_layer_drop_keys(self._layer_drops, self.cfg.seed, update_num)
        parts = self.large_batch.parts(sample)
        outputs = []
        for part in parts:
            ignored = ignore_grad or part.get("is_empty", False)
            step = (model, criterion, optimizer, update_num, ignored)
            outputs.append(self._train_copies(part, *step, part is parts[-1], **kwargs))
        return add_up(outputs)

    def _train_copies(
        self, sample, model, criterion, optimizer, update_num, ignore_grad, is_last, **kwargs
    ):
        """Run the passes over the copies of a micro-batch, or of a part of it."""
        compares = getattr(criterion, "compares_copies", False)
        keeps_rows = compares or self.noise_plan.split != "input"
        placement = self.large_batch.placement(self.placement(update_num), keeps_rows)
        averaged = LossOverReplicas(criterion, placement.replicas)
        passes = placement.passes_of(self._worker_in_group)
        measured = self.large_batch.measurement.measured(len(passes))
        peers = {}
        if compares and len(passes) > 1:
            peers = self._features_of_all(sample, model, criterion, optimizer, update_num)
        outputs, fingerprints, adversarial = [], [], 0
        self.adversary.begin()
        for replicas in passes:
            copies = {**self._copies(sample, replicas, update_num), **peers}
            if self.adversarial_plan:
                adversarial += self._perturb(copies, model, averaged, optimizer, ignore_grad)
            measured.next_pass()
            with (
                self._in_model(model, copies),
                no_gradient_traffic(model, unless=is_last and replicas is passes[-1]),
            ):
                loss, sample_size, log = super().train_step(
                    copies, model, averaged, optimizer, update_num, ignore_grad, **kwargs
                )
            self._after_pass(copies)
            self.adversary.after_pass(copies)
            outputs.append((loss.detach(), sample_size, with_rows(log, copies)))
            if self.noise_plan.changes_text:
                fingerprints.append(self.copy_noise.fingerprints(copies))
        loss, sample_size, log = average(outputs, placement.replicas)
        if fingerprints:
            log["bas_distinct"] = count_distinct(torch.cat(fingerprints, dim=1)).sum()
        if self.adversarial_plan:
            log["bas_adversarial"] = adversarial
        if sample.get("is_empty", False):
            sample_size, log = sample_size * 0, {key: value * 0 for key, value in log.items()}
        return loss, sample_size, {**log, **measured.log(sample_size)}

    def _copies(self, sample, replicas, update_num):
        """Return the noisy copies of one pass, and seed what the model draws with their key."""
        first_sentence = sample.get("first_sentence")
        if first_sentence is None:  # not from our iterator
            first_sentence = int(sample["id"].min())
        seed = derive_seed(self.cfg.seed, "dropout", update_num, first_sentence, replicas[0])
        seed_generators(seed)
        num_replicas = self.placement(update_num).replicas
        if "made_replicas" in sample:
            copies = select_replicas(sample, replicas, num_replicas)
        else:
            shared = shared_inputs(self.noise_plan.split, sample["net_input"])
            copies = replicate(sample, replicas, num_replicas, shared)
        return self.copy_noise.apply({**copies, "seed": seed}, update_num)

    def _in_model(self, model, copies):
        """Return a context in which the model makes its part of the noise of these copies."""
        return self.copy_noise.in_model(model, copies)

    def _after_pass(self, copies):
        """Take what a pass with gradient leaves for the next micro-batch: here nothing."""

    def _features_of_all(self, sample, model, criterion, optimizer, update_num):
        """Return what a loss over all copies has to know of those in other passes.

        The seeds are those of the passes with gradient, so the features are the same.
        """
        model.train()
        model.set_num_updates(update_num)
        features = []
        for replicas in self.placement(update_num).passes_of(self._worker_in_group):
            copies = self._copies(sample, replicas, update_num)
            with (
                torch.no_grad(),
                torch.autocast("cuda", enabled=isinstance(optimizer, AMPOptimizer)),
                self._in_model(model, copies),
            ):
                features.append(criterion.features_by_sentence(model, copies))
        return {"peer_features": torch.cat(features, dim=1)}

    def reduce_metrics(self, logging_outputs, criterion):
        """Log fairseq's metrics of the distinct batch, and the size of the replicated one."""
        super().reduce_metrics(logging_outputs, criterion)
        rows = sum(log.get("bas_rows", 0) for log in logging_outputs)
        if rows > 0:
            sentences = sum(log["nsentences"] for log in logging_outputs)
            distinct = sum(log.get("bas_distinct", 0) for log in logging_outputs)
            if distinct > 0:
                metrics.log_scalar("bas_distinct", distinct / sentences, sentences, round=2)
            tokens = sum(log["bas_tokens"] for log in logging_outputs)
            metrics.log_scalar("bas_replicas", rows / sentences, sentences, priority=181, round=1)
            metrics.log_scalar("bas_wpb", tokens, priority=182, round=1)
            metrics.log_speed("bas_wps", tokens, priority=91, round=1)
            if "bas_adversarial" in logging_outputs[0]:
                log_adversarial(logging_outputs, self.adversarial_share())
            self.large_batch.after_update(logging_outputs)
