"""The training batches of a task: which of them each worker reads, and in which order."""

from ..data.sampled_pairs import SampledPairs
from ..data.train_iterator import TrainIterator
from .batch_checks import base_batch


class TrainingBatches:
    """Let workers that share copies read the same batches, and updates follow a plan.

    The task has a ``replica_plan``, a ``noise_plan``, a ``large_batch`` and an adversary.
    """

    _worker_in_group = 0
    _train_iterator = None

    def get_batch_iterator(self, dataset, *args, num_shards=1, shard_id=0, epoch=1, **kwargs):
        """Return fairseq's iterator; workers that share copies read the same training batches."""
        if dataset is not self.datasets.get(self.cfg.train_subset):
            return super().get_batch_iterator(
                dataset, *args, num_shards=num_shards, shard_id=shard_id, epoch=epoch, **kwargs
            )
        group = self.replica_plan.workers
        self._worker_in_group = shard_id % group
        if isinstance(dataset, SampledPairs):
            dataset.replicas = self.replica_plan.made_on(self._worker_in_group)
        iterator = super().get_batch_iterator(
            dataset,
            *args,
            num_shards=num_shards // group,
            shard_id=shard_id // group,
            # Batches are made once a run, from the epoch given here: a resumed run must make
            # those of the first epoch, or its position would point into other batches.
            epoch=epoch if self._batches_change_by_epoch(dataset, **kwargs) else 1,
            **kwargs,
        )
        if not isinstance(iterator, TrainIterator):
            iterator = TrainIterator.of(iterator, self._layout(**kwargs))
            iterator.epoch = epoch
            if dataset in self.dataset_to_epoch_iter:
                self.dataset_to_epoch_iter[dataset] = iterator
        self._train_iterator = iterator
        self.large_batch.attach_iterator(iterator, self._base_batch(iterator))
        if self.adversarial_plan.staleness:
            iterator.companions["stale_parameters"] = self.adversary.stale
        return iterator

    def _base_batch(self, iterator):
        """Return the mean size of an update of fairseq's flags alone."""
        return base_batch(iterator, self.cfg.update_freq[0])

    def _batches_change_by_epoch(self, dataset, update_epoch_batch_itr=False, **_):
        return update_epoch_batch_itr

    def _layout(
        self,
        max_tokens=None,
        max_sentences=None,
        required_batch_size_multiple=1,
        max_positions=None,
        **_,
    ):
        return {
            "max_tokens": max_tokens,
            "max_positions": max_positions,
            "batch_size": max_sentences,
            "multiple": required_batch_size_multiple,
            "update_freq": list(self.cfg.update_freq),
            "seed": self.cfg.seed,
            "subword": self.noise_plan.subword,
            "replicas": str(self.replica_plan.schedule),
        }
