"""A run that goes on with another setup in the middle of an epoch reads each sentence once."""

import io
import itertools
import random

import pytest
import torch

from tests.data_worker import Worker
from tests.helpers import tiny_awd_lstm_lm, tiny_transformer

SENTENCES = 60


def command(toy, *extra, batch_size=4):
    model = tiny_transformer(toy, "unused", task="bas_translation")
    return [*model, "--batch-size", batch_size, *extra]


def start(flags, readers, state=None):
    return [Worker(flags, readers, reader, state) for reader in range(readers)]


def read(workers, stop_after=None):
    """Return the updates of each worker, and what a checkpoint holds afterwards."""
    updates = [list(worker.epoch(stop_after)) for worker in workers]
    assert len({len(own) for own in updates}) == 1
    state = workers[0].state()
    return updates, {**state, "position": saved(state["position"])}


def saved(position):
    """Return a position as the safe loader brings it back from a checkpoint."""
    file = io.BytesIO()
    torch.save(position, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def ids(updates):
    return [i for own in updates for update in own for batch in update for i in batch]


def random_setup(generator):
    """Return flags and a number of workers."""
    flags = ["--max-tokens", generator.choice([40, 90, 200]), "--seed", generator.choice([1, 1, 2])]
    flags += ["--update-freq", generator.choice([1, 1, 3])]
    flags += ["--required-batch-size-multiple", generator.choice([1, 4])]
    flags += ["--bas-replicas", generator.choice([1, 2])]
    schedule = generator.choice(["1x", "2x@0,1x@4u", "12s", "0.06kt"])
    if generator.random() < 0.3:
        flags.append("--grouped-shuffling")
    return [*flags, "--bas-batch-schedule", schedule], generator.choice([1, 2, 3])


@pytest.mark.parametrize("seed", range(5))
def test_random_changes_in_one_epoch_read_every_sentence_once(toy, seed):
    generator = random.Random(seed)
    state, seen, changes = None, [], 0
    for stage in itertools.count():
        flags, readers = random_setup(generator)
        workers = start(
            command(toy, *flags, batch_size=generator.choice([2, 3, 5])), readers, state
        )
        stop = generator.randint(1, 2) if stage < 3 else None
        updates, state = read(workers, stop)
        seen += ids(updates)
        ended = state["position"]["epoch"] == 2
        counters = state["position"]["bas_companions"]["planner"]
        assert counters["sentences"] == len(seen)
        assert 0 < workers[0].planner.plan.clock.epochs < 1 or stage == 0
        if ended:
            break
        changes += 1
    assert changes >= 1
    assert sorted(seen) == list(range(SENTENCES))
    sizes = workers[0].task.dataset("train").tgt_sizes
    assert counters["target_tokens"] == sizes.sum()
    assert state["position"]["bas_parts"] == []
