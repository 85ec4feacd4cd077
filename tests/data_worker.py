"""The data side of a training run, for tests of what every worker of several reads."""

import copy
import functools
import itertools

from fairseq import options, tasks
from fairseq.data import iterators
from fairseq.dataclass.utils import convert_namespace_to_omegaconf


class Worker:
    """What a worker of a run has of the data: its task and the iterator over its micro-batches.

    Args:
        flags: of ``fairseq-train``.
        readers: number of workers.
        reader: its number.
        state: of a worker to go on from.
    """

    def __init__(self, flags, readers, reader, state=None):
        cfg = copy.deepcopy(_configuration(*map(str, flags)))
        cfg.task.distributed_world_size = readers
        self.task = tasks.setup_task(cfg.task)
        start = 1 if state is None else state["position"]["epoch"]
        self.task.load_dataset("train", epoch=start)
        self.planner = self.task.large_batch.planner
        self.updates = 0 if state is None else state["updates"]
        self.planner.num_updates = lambda: self.updates
        self.flags = {
            "max_tokens": cfg.dataset.max_tokens,
            "max_sentences": cfg.dataset.batch_size,
            "required_batch_size_multiple": cfg.dataset.required_batch_size_multiple,
            "max_positions": (cfg.dataset.max_tokens, cfg.dataset.max_tokens),
            "ignore_invalid_inputs": True,
            "seed": cfg.common.seed,
            "num_workers": cfg.dataset.num_workers,
            "grouped_shuffling": cfg.dataset.grouped_shuffling,
        }
        self.shard = {"num_shards": readers, "shard_id": reader}
        self.update_freq = cfg.optimization.update_freq[0]
        self.open(start)
        if state is not None:
            self.epoch_iterator.load_state_dict(state["position"])

    def open(self, epoch):
        """Get the iterator of an epoch, as the trainer does."""
        self.epoch_iterator = self.task.get_batch_iterator(
            self.task.dataset("train"), epoch=epoch, **self.flags, **self.shard
        )

    def epoch(self, stop_after=None):
        """Yield the updates of the next epoch as lists of tuples of sentence ids."""
        batches = self.epoch_iterator.next_epoch_itr(shuffle=True)
        groups = iterators.GroupedIterator(batches, self.update_freq)
        self.planner.begin_epoch(self.epoch_iterator.epoch)
        for count in itertools.count(1):
            if not groups.has_next() or (stop_after is not None and count > stop_after):
                return
            group = next(groups)
            self.updates += 1
            yield [() if b["is_empty"] else tuple(b["id"].tolist()) for b in group]

    def state(self):
        """Return what a checkpoint would hold of it."""
        return {"updates": self.updates, "position": self.epoch_iterator.state_dict()}


@functools.lru_cache(maxsize=1)
def _configuration(*flags):
    parser = options.get_training_parser()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, list(flags)))
