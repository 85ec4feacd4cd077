"""One update of a replicated batch, whole: from the micro-batch to its averaged gradient.

For each micro-batch, each worker runs its passes; a pass copies the sentences, seeds the model's
noise with the key of its replicas, and runs forward and backward on the loss divided by M.
Gradients add up over passes, micro-batches and workers; the trainer divides by the number of
distinct target tokens (or sentences). So the gradient is the mean over replicas of the plain one.
"""

import contextlib

import torch
from fairseq.logging import metrics

from ..config import Clock
from ..data.train_iterator import TrainIterator
from ..errors import refuse_with
from ..replicate import divide, mean_over_replicas, replicate
from ..rng import derive_seed
from .replica_config import ReplicaPlan
from .run_summary import log_run_summary


class ReplicatedUpdate:
    """Make any fairseq task train on M noised copies of every sentence.

    Put it before a ``FairseqTask`` in the bases of a task whose config includes ``ReplicaConfig``.
    Validation and generation are the task's own.
    """

    def __init__(self, cfg, *args, **kwargs):
        super().__init__(cfg, *args, **kwargs)
        with refuse_with():
            self.replica_plan = ReplicaPlan(cfg)
        self._epochs_completed = 0
        self._worker_in_group = 0
        self._train_iterator = None
        self._summarised = False

    # -- data ---------------------------------------------------------------------------------

    def get_batch_iterator(self, dataset, *args, num_shards=1, shard_id=0, epoch=1, **kwargs):
        """Return fairseq's iterator; workers that share copies read the same training batches."""
        if dataset is not self.datasets.get(self.cfg.train_subset):
            return super().get_batch_iterator(
                dataset, *args, num_shards=num_shards, shard_id=shard_id, epoch=epoch, **kwargs
            )
        group = self.replica_plan.workers
        self._worker_in_group = shard_id % group
        iterator = super().get_batch_iterator(
            dataset,
            *args,
            num_shards=num_shards // group,
            shard_id=shard_id // group,
            # Batches are made once a run, from the epoch given here: a resumed run must make
            # those of the first epoch, or its position would point into other batches.
            epoch=epoch if kwargs.get("update_epoch_batch_itr") else 1,
            **kwargs,
        )
        if not isinstance(iterator, TrainIterator):
            iterator = TrainIterator.of(iterator, self._layout(**kwargs))
            iterator.epoch = epoch
            if dataset in self.dataset_to_epoch_iter:
                self.dataset_to_epoch_iter[dataset] = iterator
        self._train_iterator = iterator
        return iterator

    def _layout(self, max_tokens=None, max_sentences=None, required_batch_size_multiple=1, **_):
        return {
            "max_tokens": max_tokens,
            "batch_size": max_sentences,
            "multiple": required_batch_size_multiple,
            "update_freq": list(self.cfg.update_freq),
            "seed": self.cfg.seed,
            "replicas": str(self.replica_plan.schedule),
        }

    def begin_epoch(self, epoch, model):
        """Set the epoch clock of the replica schedule; say once what the run will do."""
        super().begin_epoch(epoch, model)
        self._epochs_completed = epoch - 1
        if not self._summarised:
            log_run_summary(self.replica_plan, self._train_iterator, self.cfg)
            self._summarised = True

    # -- one update ---------------------------------------------------------------------------

    def placement(self, update_num):
        """Return the placement of the copies in the update after ``update_num`` updates."""
        return self.replica_plan.at(Clock(updates=update_num, epochs=self._epochs_completed))

    def train_step(
        self, sample, model, criterion, optimizer, update_num, ignore_grad=False, **kwargs
    ):
        """Add the gradient of one micro-batch, averaged over its copies.

        Returns:
            The loss, ``sample_size`` and logging output, each summed over this worker's copies and
            divided by M, so that sums over workers are those of M = 1.
        """
        placement = self.placement(update_num)
        averaged = _LossOverReplicas(criterion, placement.replicas)
        is_empty = sample.get("is_empty", False)
        ignore_grad = ignore_grad or is_empty
        first_sentence = sample.get("first_sentence")
        if first_sentence is None:  # not from our iterator
            first_sentence = int(sample["id"].min())
        passes = placement.passes_of(self._worker_in_group)
        outputs = []
        for replicas in passes:
            key = (update_num, first_sentence, replicas[0])
            torch.manual_seed(derive_seed(self.cfg.seed, "dropout", *key))
            copies = replicate(sample, replicas, placement.replicas)
            with _no_gradient_traffic(model, unless=replicas is passes[-1]):
                loss, sample_size, log = super().train_step(
                    copies, model, averaged, optimizer, update_num, ignore_grad, **kwargs
                )
            outputs.append((loss.detach(), sample_size, _with_rows(log, copies)))
        return _average(outputs, placement.replicas, is_empty)

    def reduce_metrics(self, logging_outputs, criterion):
        """Log fairseq's metrics of the distinct batch, and the size of the replicated one."""
        super().reduce_metrics(logging_outputs, criterion)
        rows = sum(log.get("bas_rows", 0) for log in logging_outputs)
        if rows > 0:
            sentences = sum(log["nsentences"] for log in logging_outputs)
            tokens = sum(log["bas_tokens"] for log in logging_outputs)
            metrics.log_scalar("bas_replicas", rows / sentences, sentences, priority=181, round=1)
            metrics.log_scalar("bas_wpb", tokens, priority=182, round=1)
            metrics.log_speed("bas_wps", tokens, priority=91, round=1)


class _LossOverReplicas:
    """Divide a criterion's loss by M before the backward pass.

    Before and not after it: M summed copies would bring half-precision gradients M times closer to
    overflow.
    """

    def __init__(self, criterion, num_replicas):
        self.criterion = criterion
        self.num_replicas = num_replicas

    def __call__(self, model, sample):
        loss, sample_size, log = self.criterion(model, sample)
        return loss / self.num_replicas, sample_size, log


def _no_gradient_traffic(model, unless):
    """Keep data-parallel wrappers from reducing gradients that later passes still add to."""
    if unless or not hasattr(model, "no_sync"):
        return contextlib.nullcontext()
    return model.no_sync()


def _with_rows(log, copies):
    """Add the size of the replicated batch, times M as every logged number is divided by it."""
    num_replicas = copies["num_replicas"]
    return {
        **log,
        "bas_rows": copies["nsentences"] * num_replicas,
        "bas_tokens": copies["ntokens"] * num_replicas,
    }


def _average(outputs, num_replicas, is_empty):
    losses, sample_sizes, logs = zip(*outputs, strict=True)
    sample_size = divide(sum(sample_sizes), num_replicas)
    log = mean_over_replicas(logs, num_replicas)
    if is_empty:
        sample_size *= 0
        log = {key: value * 0 for key, value in log.items()}
    return sum(losses), sample_size, log
