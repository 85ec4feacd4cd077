"""Reading a text as streams: the iterators of training and of evaluation."""

from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks.language_modeling import LanguageModelingTask

from ..data.stateful_batches import StatefulBatches
from ..data.streams import StreamEpoch, StreamText
from ..errors import refuse_with


class StreamReading(LanguageModelingTask):
    """Read texts window after window; other data as fairseq does.

    A subclass with ``ReplicatedUpdate`` before it sets ``stream_plan``, a ``StreamPlan``, and
    ``carries_state``, whether its model has a recurrent state to carry.
    """

    carries_state = False

    def __init__(self, cfg, *args, **kwargs):
        super().__init__(cfg, *args, **kwargs)
        self.cfg = cfg  # where tasks that are not legacy ones have the flags

    def get_batch_iterator(self, dataset, *args, epoch=1, **kwargs):
        """Return the windows of a text in order; other data as fairseq does."""
        if not isinstance(dataset, StreamText):
            return super().get_batch_iterator(dataset, *args, epoch=epoch, **kwargs)
        return self.stream_iterator(dataset, epoch=epoch, **kwargs)

    def stream_iterator(
        self,
        text,
        epoch=1,
        num_shards=1,
        shard_id=0,
        num_workers=0,
        data_buffer_size=0,
        evaluates=False,
        **unused,
    ):
        """Return an iterator over the windows of a text.

        Training reads ``--batch-size`` streams in each micro-batch of an update. In evaluation
        every worker reads the whole text, so that the result does not depend on their number.
        """
        trains = text is self.datasets.get(self.cfg.train_subset) and not evaluates
        groups = 1
        with refuse_with():
            if trains:
                groups = num_shards * self._update_freq(epoch)
                layout = self.stream_plan.training(len(text), groups)
            else:
                num_shards, shard_id = 1, 0
                layout = self.stream_plan.evaluation(len(text))
        replicas = None
        if trains and self.cfg.bas_offset_copies:
            replicas = self.replica_plan.made_on(self._worker_in_group)
        dataset = StreamEpoch(text, layout, self.cfg.seed, epoch, replicas)
        return EpochBatchIterator(
            dataset,
            dataset.collater,
            dataset.batches(groups),
            seed=self.cfg.seed,
            num_shards=num_shards,
            shard_id=shard_id,
            num_workers=num_workers,
            epoch=epoch,
            buffer_size=data_buffer_size,
            disable_shuffling=True,
        )

    def _update_freq(self, epoch):
        update_freq = self.cfg.update_freq
        return update_freq[min(epoch, len(update_freq)) - 1]

    def eval_lm_dataloader(self, dataset, context_window=0, **kwargs):
        """Return the batches of ``fairseq-eval-lm``, the state carried from one to the next."""
        if not isinstance(dataset, StreamText):
            return super().eval_lm_dataloader(dataset, context_window=context_window, **kwargs)
        if context_window > 0:
            with refuse_with():
                raise ValueError(
                    f"--context-window {context_window} is for blocks, and a carried state has the "
                    "whole context; leave it out, or pass --bas-batching blocks"
                )
        iterator = self.stream_iterator(dataset, evaluates=True).next_epoch_itr(shuffle=False)
        return StatefulBatches(iterator) if self.carries_state else iterator
