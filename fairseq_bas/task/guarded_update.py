"""The part of an update that is about noticing that the run diverges."""

from ..errors import refuse_with
from ..resilience.divergence_guard import DivergenceGuard
from ..resilience.rollback import COMPANION
from .early_reader import mean_loss


class GuardedUpdate:
    """Tell a `DivergenceGuard` of every update; put it before ``ReplicatedUpdate``."""

    def __init__(self, cfg, *args, **kwargs):
        super().__init__(cfg, *args, **kwargs)
        with refuse_with():
            self.divergence_guard = DivergenceGuard(cfg, self._text_of)
        self._searching = False

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """Return an iterator; the one over the training set has the state of the guard."""
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        if iterator is self._train_iterator:
            # fairseq does not load the state of a task when it goes on training.
            iterator.companions[COMPANION] = self.divergence_guard
            self.divergence_guard.epoch_iterator = iterator
        return iterator

    def begin_epoch(self, epoch, model):
        """Take note of the epoch."""
        super().begin_epoch(epoch, model)
        self.divergence_guard.epoch = epoch

    def begin_run(self, trainer):
        """Get to know the trainer; the factor on the learning rate comes before all others."""
        self.divergence_guard.begin_run(trainer)
        super().begin_run(trainer)

    def before_update(self, trainer, samples):
        """Take note that an update begins, and with which learning rate."""
        auto_warmup = getattr(self.large_batch.scheduler, "auto_warmup", None)
        self._searching = getattr(auto_warmup, "warming_up", False)
        super().before_update(trainer, samples)
        self.divergence_guard.begin_update()

    def train_step(self, sample, model, criterion, optimizer, update_num, *args, **kwargs):
        """Add the gradient of one micro-batch, and take note of what it holds."""
        step = (sample, model, criterion, optimizer, update_num, *args)
        result = super().train_step(*step, **kwargs)
        replicas = self.placement(update_num).replicas
        self.divergence_guard.recent.add(sample, result[2], replicas)
        return result

    def clip_norm(self, clip_norm):
        """Take note that the update has all its micro-batches."""
        self.divergence_guard.recent.end_gradient()
        return super().clip_norm(clip_norm)

    def observe_gradient_norm(self, norm):
        """Take the norm of the gradient before clipping."""
        super().observe_gradient_norm(norm)
        self.divergence_guard.observe_gradient_norm(norm)

    def reduce_metrics(self, logging_outputs, criterion):
        """Log metrics; of an update, judge the loss."""
        super().reduce_metrics(logging_outputs, criterion)
        if sum(log.get("bas_rows", 0) for log in logging_outputs) > 0:
            loss = mean_loss(logging_outputs, self.large_batch.reader.numbers)
            self.divergence_guard.observe_loss(loss, self._kind_of_loss(), self._searching)

    def _kind_of_loss(self):
        """Return what the loss depends on besides the weights: copies, and how many are hard."""
        plan = self.large_batch.planner.plan
        replicas = self.large_batch.planner.replicas(plan.clock)
        return [replicas, self.adversarial_share() if self.adversarial_plan else 0.0]

    def _text_of(self, index):
        """Return the text of a training sentence, by side, in the words of the dictionaries."""
        dataset = self.datasets[self.cfg.train_subset]
        while not hasattr(dataset, "src") and hasattr(dataset, "dataset"):
            dataset = dataset.dataset
        if not hasattr(dataset, "src"):
            return {"text": self.source_dictionary.string(dataset[index]["source"])}
        text = {"source": self.source_dictionary.string(dataset.src[index])}
        if dataset.tgt is not None:
            text["target"] = self.target_dictionary.string(dataset.tgt[index])
        return text
