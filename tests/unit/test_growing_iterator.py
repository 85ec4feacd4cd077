"""Updates of growing size: every sentence once an epoch, on any number of workers, also resumed."""

import itertools

import numpy as np
import pytest
from fairseq.data import iterators
from fairseq.dataclass.configs import DistributedTrainingConfig

from fairseq_bas.data.epoch_rounds import EpochRounds
from fairseq_bas.task.batch_checks import check_backend
from tests.data_worker import Worker
from tests.toys import tiny_awd_lstm_lm, tiny_transformer

SCHEDULES = {
    "multiples": "1x@0,2x@3u,4x@1e",
    "sentences": "10s@0,24s@40s",
    "tokens": "0.05kt@0,0.2kt@1e",
    "ramp": "linear:from=1x,to=6x,over=2e",
}


def flags(toy, tmp_path, schedule):
    model = tiny_transformer(toy, tmp_path, task="bas_translation")
    return [*model, "--batch-size", 4, "--bas-batch-schedule", schedule]


def epochs_of(worker, count):
    """Return, for each of ``count`` epochs, its updates."""
    return [list(worker.epoch()) for _ in range(count)]


@pytest.mark.parametrize(
    ("readers", "name"),
    [(1, "tokens"), (2, "multiples"), (2, "sentences"), (3, "multiples"), (3, "ramp")],
)
def test_every_sentence_once_an_epoch(toy, tmp_path, readers, name):
    schedule = SCHEDULES[name]
    workers = [Worker(flags(toy, tmp_path, schedule), readers, r) for r in range(readers)]
    runs = [epochs_of(worker, 3) for worker in workers]
    for epoch in range(3):
        updates = {len(run[epoch]) for run in runs}
        assert len(updates) == 1  # all workers make the same number of updates
        for update in range(updates.pop()):
            assert len({len(run[epoch][update]) for run in runs}) == 1  # of as many micro-batches
        ids = [i for run in runs for update in run[epoch] for batch in update for i in batch]
        assert sorted(ids) == list(range(60))
    sizes = [sum(map(len, update)) for epoch in runs[0] for update in epoch]
    assert max(sizes) > min(sizes[:2])  # it did grow
    totals = [worker.planner.state_dict() for worker in workers]
    assert all(total == totals[0] for total in totals) and totals[0]["sentences"] == 3 * 60


@pytest.mark.parametrize(
    ("readers", "name"), [(1, "sentences"), (1, "ramp"), (3, "tokens"), (3, "multiples")]
)
def test_resumed_run_goes_on_with_the_same_updates(toy, tmp_path, readers, name):
    command = flags(toy, tmp_path, SCHEDULES[name])
    reader = readers - 1
    whole = epochs_of(Worker(command, readers, reader), 2)
    stop = len(whole[0]) // 2
    first = Worker(command, readers, reader)
    before = list(first.epoch(stop_after=stop))
    after = epochs_of(Worker(command, readers, reader, first.state()), 2)
    assert before + after[0] == whole[0] and after[1] == whole[1]


def test_streams_of_a_language_model_keep_their_order(toy_lm, tmp_path):
    """An update twice as large holds two windows of every stream, one after the other."""
    model = tiny_awd_lstm_lm(toy_lm, tmp_path, task="bas_language_modeling")
    command = [*model, "--bas-batch-schedule", "1x@0,2x@2u"]
    worker = Worker(command, 1, 0)
    batches = worker.epoch_iterator.next_epoch_itr(shuffle=False)
    windows = []
    for group in iterators.GroupedIterator(batches, 1):
        windows.append([batch["window"] for batch in group])
        worker.updates += 1
    assert windows[:4] == [[0], [1], [2, 3], [4, 5]]
    assert list(itertools.chain(*windows)) == list(range(len(worker.epoch_iterator)))


def test_fill_takes_the_nearest_size_by_brute_force():
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 9, size=(2, 40))
    totals = np.concatenate([np.zeros((2, 1), int), sizes.cumsum(axis=1)], axis=1)
    rounds = EpochRounds(*totals)
    for start in range(40):
        for amount in (0.5, 3, 7.5, 12, 31, 1000):
            for unit, row in (("s", 0), ("t", 1)):
                got = rounds.fill(start, amount, unit)
                errors = [
                    (abs(sizes[row, start:stop].sum() - amount), stop)
                    for stop in range(start + 1, 41)
                ]
                assert got == min(errors)[1]


def test_grouped_shuffling_is_seen_through(toy, tmp_path):
    """The sizes of rounds are those of what the workers really read."""
    for extra in ({}, {"grouped_shuffling": True}):
        workers = [Worker(flags(toy, tmp_path, "1x"), 2, reader) for reader in range(2)]
        for worker in workers:
            worker.flags.update(extra)
            worker.open(1)
        runs = [list(worker.epoch()) for worker in workers]
        rounds = workers[0].epoch_iterator.rounds(epoch=1)
        read = [sum(len(batch) for run in runs for batch in run[n]) for n in range(len(runs[0]))]
        assert np.diff(rounds.sentences).tolist() == read


def test_other_iterators_are_grouped_by_fairseq():
    batches = iterators.CountingIterator(list(range(7)))
    groups = iterators.GroupedIterator(batches, 3)
    assert list(groups) == [[0, 1, 2], [3, 4, 5], [6]] and len(groups) == 3


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--update-freq", "1,2"), "--update-freq 1,2 changes the batch by epoch and"),
        (("--skip-remainder-batch",), "--skip-remainder-batch leaves out an update"),
        (("--bas-reference-batch", "4q"), "--bas-reference-batch: '4q' is not a number above 0"),
        (("--bas-measure-every", -1), "--bas-measure-every -1 is negative"),
        (("--bas-batch-schedule", "2x@5u"), "--bas-batch-schedule 2x@5u: the first step starts"),
    ],
)
def test_bad_flags_are_refused_in_one_line(toy, tmp_path, extra, message):
    with pytest.raises(SystemExit) as stopped:
        Worker([*flags(toy, tmp_path, "1x"), *extra], 1, 0)
    assert str(stopped.value).startswith(message) and "\n" not in str(stopped.value)


@pytest.mark.parametrize("backend", ["pytorch_ddp", "legacy_ddp"])
def test_extension_needs_a_backend_that_adds_up_after_the_last_micro_batch(backend):
    cfg = DistributedTrainingConfig(distributed_world_size=2, ddp_backend=backend)
    if backend == "legacy_ddp":
        check_backend(cfg)
    else:
        with pytest.raises(ValueError, match=r"pass --ddp-backend legacy_ddp$"):
            check_backend(cfg)
