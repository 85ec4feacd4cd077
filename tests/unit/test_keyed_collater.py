"""Micro-batches are made by loader processes, also by such as do not inherit the trainer."""

import pickle
from multiprocessing.reduction import ForkingPickler

import torch
from fairseq import tasks
from fairseq.trainer import Trainer

from tests.in_process import config_of
from tests.toys import tiny_transformer


def test_collater_travels_to_processes_that_were_not_forked(toy, tmp_path):
    """Of workers that fairseq spawns, loader processes are spawned too."""
    config = config_of(tiny_transformer(toy, tmp_path, task="bas_translation"))
    task = tasks.setup_task(config.task)
    model, criterion = task.build_model(config.model), task.build_criterion(config.criterion)
    trainer = Trainer(config, task, model, criterion)
    iterator = trainer.get_train_iterator(epoch=1)
    first = iterator.frozen_batches[0][0]
    travelled = pickle.loads(ForkingPickler.dumps(iterator.collate_fn))
    for items in ([], [iterator.dataset[i] for i in (5, 3)]):
        here, there = iterator.collate_fn(items), travelled(items)
        assert here["first_sentence"] == there["first_sentence"] == (3 if items else first)
        assert here["is_empty"] == there["is_empty"] == (not items)
        assert torch.equal(here["target"], there["target"])
