"""``--curriculum N``: the first N epochs are read in order, from the shortest on; no others."""

from tests.data_worker import Worker
from tests.toys import tiny_transformer


def test_only_the_epochs_after_the_first_are_shuffled(toy):
    """Stock fairseq keeps the choice of the first epoch with the data loader that it uses again."""
    flags = [*tiny_transformer(toy, "unused", task="bas_translation"), "--batch-size", 4]
    worker = Worker(flags, 1, 0)
    made = [tuple(batch) for batch in worker.epoch_iterator.frozen_batches]
    epochs = []
    for epoch in (1, 2, 3):
        batches = worker.epoch_iterator.next_epoch_itr(shuffle=epoch > 1)
        epochs.append([tuple(batch["id"].tolist()) for batch in batches])
    first, second, third, kept = (list(map(frozenset, epoch)) for epoch in (*epochs, made))
    assert set(first) == set(second) == set(third)
    assert first == kept
    assert second != first and third != first and second != third
